//! `gateway`: what its user says about nodes; everything else is this service.

use super::super::{Key, Kind, elsewhere, live};
use super::TEXTS;

const SERVICE_ITSELF: &str = "the gateway is this service";

pub(super) const GATEWAY: &[Key] = &[
    live("nodes", Kind::Object(&[NODES]), "Paired nodes."),
    live(
        "tools",
        Kind::Object(&[TOOLS]),
        "Tools that programs may call over HTTP (/tools/invoke).",
    ),
];

const TOOLS: &[Key] = &[
    live("allow", TEXTS, "Of those that are kept back otherwise, e.g. cron."),
    live("deny", TEXTS, "Never these."),
];

const NODES: &[Key] = &[
    live(
        "allowCommands",
        TEXTS,
        "Commands of nodes that are off by default, e.g. camera.snap: exact names.",
    ),
    live(
        "denyCommands",
        TEXTS,
        "Commands of nodes that are never called: exact names. Goes before everything else.",
    ),
    live(
        "commands",
        Kind::Object(&[COMMANDS]),
        "The newer spelling of allowCommands and denyCommands.",
    ),
    elsewhere("pairing", "a device waits for a person's approval"),
    elsewhere("browser", "a browser belongs to a paired device"),
    elsewhere("pluginTools", "tools of node plug-ins are not offered yet"),
    elsewhere("skills", "skills of connected, approved nodes are always offered"),
];

const COMMANDS: &[Key] = &[
    live("allow", TEXTS, "See allowCommands."),
    live("deny", TEXTS, "See denyCommands."),
];

/// Of a gateway on a machine of one's own.
pub(super) const SERVICE: &[Key] = &[
    elsewhere("allowRealIpFallback", SERVICE_ITSELF),
    elsewhere("auth", SERVICE_ITSELF),
    elsewhere("bind", SERVICE_ITSELF),
    elsewhere("channelHealthCheckMinutes", SERVICE_ITSELF),
    elsewhere("channelMaxRestartsPerHour", SERVICE_ITSELF),
    elsewhere("channelStaleEventThresholdMinutes", SERVICE_ITSELF),
    elsewhere("controlUi", SERVICE_ITSELF),
    elsewhere("customBindHost", SERVICE_ITSELF),
    elsewhere("handshakeTimeoutMs", SERVICE_ITSELF),
    elsewhere("http", SERVICE_ITSELF),
    elsewhere("mode", SERVICE_ITSELF),
    elsewhere("port", SERVICE_ITSELF),
    elsewhere("push", SERVICE_ITSELF),
    elsewhere("reload", SERVICE_ITSELF),
    elsewhere("remote", SERVICE_ITSELF),
    elsewhere("tailscale", SERVICE_ITSELF),
    elsewhere("terminal", SERVICE_ITSELF),
    elsewhere("tls", SERVICE_ITSELF),
    elsewhere("trustedProxies", SERVICE_ITSELF),
    elsewhere("webchat", SERVICE_ITSELF),
];
