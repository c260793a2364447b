//! The HTTP layer on a real server with a real database.

mod access;
mod pages;
mod session;
mod upgrade;
mod webhooks;
