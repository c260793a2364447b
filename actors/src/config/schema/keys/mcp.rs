//! `mcp`: servers elsewhere that offer tools.

use super::super::{Form, Key, Kind, elsewhere, kept, live};
use super::TEXTS;
use crate::config::document;

const TRANSPORT: Kind = Kind::Formed(&Form {
    what: "streamable-http: the older HTTP+SSE transport is not supported, and a server that is started as a program \
        needs a machine of your own",
    fits: document::is_mcp_transport,
});

const ADDRESS: Kind = Kind::Formed(&Form {
    what: "the http(s) address of a server, without a name or password in it",
    fits: |text| {
        let authority = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let authority = authority.and_then(|rest| rest.split(['/', '?', '#']).next());
        authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
    },
});

const HEADERS: Kind = Kind::Map(&Kind::Secret);

const FILTER: &[Key] = &[
    live(
        "include",
        TEXTS,
        "Only these tools, as the server names them; * stands for anything.",
    ),
    live("exclude", TEXTS, "Never these tools."),
];

const PROGRAM: &str = "a server that is started as a program needs a machine of your own: give the url of a remote one";

const SERVER: &[Key] = &[
    live("enabled", Kind::Bool, "False: kept, and not connected to."),
    live("url", ADDRESS, "Where the server is."),
    live("transport", TRANSPORT, "How it is spoken to: streamable-http."),
    live("type", TRANSPORT, "Another name of transport."),
    live("headers", HEADERS, "Sent with each request; their values are sealed."),
    live(
        "connectionTimeoutMs",
        Kind::Whole,
        "Milliseconds for connecting; at most 120000.",
    ),
    live(
        "requestTimeoutMs",
        Kind::Whole,
        "Milliseconds for one call; at most 600000.",
    ),
    live("toolFilter", Kind::Object(&[FILTER]), "Which of its tools are used."),
    live(
        "guests",
        TEXTS,
        "Its tools that guests may use too; * stands for anything. Else they are the owner's alone.",
    ),
    live(
        "readOnly",
        TEXTS,
        "Its tools that change nothing, so that a call may be made again after a crash; * stands for anything. What the \
         server says of them does not count.",
    ),
    kept("supportsParallelToolCalls", Kind::Bool),
    kept("codex", Kind::Any),
    elsewhere("command", PROGRAM),
    elsewhere("args", PROGRAM),
    elsewhere("env", PROGRAM),
    elsewhere("cwd", PROGRAM),
    elsewhere("workingDirectory", PROGRAM),
    elsewhere("auth", "signing in with OAuth is not available yet: give a header"),
    elsewhere("oauth", "signing in with OAuth is not available yet: give a header"),
    elsewhere("sslVerify", "certificates are always checked"),
    elsewhere("clientCert", "certificates of clients are not available yet"),
    elsewhere("clientKey", "certificates of clients are not available yet"),
];

pub(super) const MCP: &[Key] = &[
    live(
        "servers",
        Kind::Map(&Kind::Object(&[SERVER])),
        "Servers, by their names.",
    ),
    kept("sessionIdleTtlMs", Kind::Whole),
];
