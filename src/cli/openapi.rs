//! `openapi`: the document of the REST API on stdout, without a database.

use super::out;

pub(super) fn run() {
    out::line(crate::http::openapi());
}
