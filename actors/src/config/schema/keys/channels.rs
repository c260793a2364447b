//! `channels`: bots of the tenant, one block per platform. The block itself is the default account.

use super::super::{Key, Kind, elsewhere, kept, live};
use super::ANY_MAP;

/// A platform that this service has.
#[derive(Debug)]
pub struct Platform {
    pub id: &'static str,
    /// Secrets without which an account cannot run.
    pub required: &'static [&'static str],
}

/// The platforms whose keys stand below. A test compares them with what the adapters say of themselves.
pub const PLATFORMS: &[Platform] = &[
    Platform {
        id: "telegram",
        required: &["botToken"],
    },
    Platform {
        id: "slack",
        required: &["botToken", "signingSecret"],
    },
];

pub(super) const CHANNELS: &[&[Key]] = &[
    &[
        live(
            "telegram",
            Kind::Object(&[ACCOUNTS_OF_TELEGRAM, SHARED, TELEGRAM, LOCAL]),
            "The default bot on Telegram, and further ones.",
        ),
        live(
            "slack",
            Kind::Object(&[ACCOUNTS_OF_SLACK, SHARED, SLACK, LOCAL]),
            "The default app on Slack, and further ones.",
        ),
        elsewhere("defaults", "set it per account"),
        elsewhere("modelByChannel", "set it per account"),
    ],
    NOT_YET,
];

const ACCOUNTS_OF_TELEGRAM: &[Key] = &[
    live(
        "accounts",
        Kind::Map(&Kind::Object(&[SHARED, TELEGRAM, LOCAL])),
        "Further bots by account id.",
    ),
    elsewhere("defaultAccount", "the block itself is the default account"),
];

const ACCOUNTS_OF_SLACK: &[Key] = &[
    live(
        "accounts",
        Kind::Map(&Kind::Object(&[SHARED, SLACK, LOCAL])),
        "Further apps by account id.",
    ),
    elsewhere("defaultAccount", "the block itself is the default account"),
];

const IDS: Kind = Kind::List(&Kind::Id);

/// Settings of one group.
const GROUP: &[Key] = &[
    live("requireMention", Kind::Bool, "Answer only when addressed."),
    live("enabled", Kind::Bool, "May the group talk to the agent."),
    live("allow", Kind::Bool, "As enabled."),
    live("allowFrom", IDS, "Who may talk in this group."),
    live("users", IDS, "As allowFrom."),
    live("tools", ROOM_TOOLS, "Which tools there are in this group."),
    live(
        "toolsBySender",
        Kind::Map(&ROOM_TOOLS),
        "Instead of tools, by sender id; * for all others. Names fit nobody.",
    ),
    live("skills", super::TEXTS, "Only these skills, of those the agent has."),
    live("systemPrompt", Kind::Text, "Stands in the system prompt in this group."),
    kept("groupPolicy", Kind::Text),
    kept("allowBots", Kind::Any),
    kept("agentId", Kind::Text),
];

const ROOM_TOOLS: Kind = Kind::Object(&[super::tools::RULES]);

const TOPICS: &[Key] = &[live(
    "topics",
    Kind::Map(&Kind::Object(&[GROUP])),
    "Topics by id, where something else holds than in the group (Telegram).",
)];

const DM: &[Key] = &[
    live("enabled", Kind::Bool, "false: no direct chats."),
    live("policy", Kind::Text, "Older spelling of dmPolicy."),
    live("allowFrom", IDS, "Older spelling of allowFrom."),
    kept("groupEnabled", Kind::Bool),
    kept("groupChannels", IDS),
    kept("replyToMode", Kind::Text),
];

/// Settings all platforms share.
const SHARED: &[Key] = &[
    live("enabled", Kind::Bool, "Is the account on; absent: yes."),
    live(
        "dmPolicy",
        Kind::Choice(&["pairing", "allowlist", "open", "disabled"]),
        "Who may write to it directly.",
    ),
    live("allowFrom", IDS, "Sender ids for dmPolicy; open needs *."),
    live(
        "groupPolicy",
        Kind::Choice(&["allowlist", "open", "disabled"]),
        "In which groups it answers.",
    ),
    live("groupAllowFrom", IDS, "Who may talk to it in groups."),
    live("allowBots", Kind::Any, "Does it hear other bots."),
    live("requireMention", Kind::Bool, "In groups, answer only when addressed."),
    live(
        "groups",
        Kind::Map(&Kind::Object(&[GROUP, TOPICS])),
        "Groups by id; * for all others, and requireMention of * for those that do not say it.",
    ),
    live(
        "dm",
        Kind::Object(&[DM]),
        "Older spelling of the rules for direct chats.",
    ),
    live(
        "streaming",
        Kind::Either(&[Kind::Bool, Kind::Text, ANY_MAP]),
        "How an answer is shown while it is written: partial, block, progress (Slack) or off; false is off.",
    ),
    live("apiRoot", Kind::Text, "Address of the platform's API, if not its own."),
    live("apiBaseUrl", Kind::Text, "As apiRoot."),
    kept("name", Kind::Text),
    kept("dms", Kind::Any),
    live(
        "historyLimit",
        Kind::Whole,
        "Messages of a group the agent is shown as context; goes before messages.groupChat.historyLimit.",
    ),
    kept("dmHistoryLimit", Kind::Whole),
    live(
        "textChunkLimit",
        Kind::Whole,
        "Longest message, characters; the platform's limit holds too.",
    ),
    live(
        "chunkMode",
        Kind::Choice(&["length", "newline"]),
        "newline: each paragraph is a message.",
    ),
    kept("streamMode", Kind::Text),
    kept("draftChunk", Kind::Any),
    live(
        "blockStreaming",
        Kind::Bool,
        "Long answers go out in parts, if agents.defaults.blockStreamingDefault is on.",
    ),
    live(
        "blockStreamingCoalesce",
        super::agents::COALESCE_KIND,
        "When small parts become one.",
    ),
    kept("mediaMaxMb", Kind::Number),
    live(
        "reactionNotifications",
        Kind::Choice(&["off", "own", "all", "allowlist"]),
        "Which reactions the agent hears of with its next turn: own, those to its messages; allowlist, those of \
         reactionAllowlist.",
    ),
    kept("reactionLevel", Kind::Text),
    live("reactionAllowlist", IDS, "Sender ids for reactionNotifications."),
    live(
        "ackReaction",
        Kind::Text,
        "Goes before messages.ackReaction. Empty: none.",
    ),
    live(
        "responsePrefix",
        Kind::Text,
        "Stands before every answer; goes before messages.responsePrefix. Empty: none.",
    ),
    kept("markdown", Kind::Any),
    kept("capabilities", Kind::Any),
    kept("actions", Kind::Any),
    live(
        "commands",
        Kind::Object(&[COMMANDS]),
        "The platform's own menu of commands.",
    ),
    kept("configWrites", Kind::Bool),
    kept("linkPreview", Kind::Bool),
    live(
        "heartbeat",
        Kind::Object(&[HEARTBEAT]),
        "What is sent of an agent's looks.",
    ),
    kept("typingReaction", Kind::Any),
    kept("defaultTo", Kind::Id),
];

const COMMANDS: &[Key] = &[
    live(
        "native",
        Kind::Either(&[Kind::Bool, Kind::Choice(&["auto"])]),
        "False: our commands are not offered in the menu (Telegram).",
    ),
    kept("nativeSkills", Kind::Any),
];

const CUSTOM_COMMAND: Kind = Kind::Object(&[&[
    live("command", Kind::Text, "Name, without the slash."),
    live("description", Kind::Text, "What people read beside it."),
]]);

const HEARTBEAT: &[Key] = &[
    live(
        "showOk",
        Kind::Bool,
        "Also when there was nothing to report; off by default.",
    ),
    live("showAlerts", Kind::Bool, "What was found; on by default."),
    live(
        "useIndicator",
        Kind::Bool,
        "Clients are told of each look; on by default.",
    ),
];

const TELEGRAM: &[Key] = &[
    live("botToken", Kind::Secret, "From @BotFather."),
    live("webhookSecret", Kind::Secret, "Made when the bot is connected."),
    live(
        "replyToMode",
        Kind::Text,
        "Which messages of an answer are replies: off, first or all. Left out: all of them, in groups. Tags of the model hold anyway.",
    ),
    live(
        "customCommands",
        Kind::List(&CUSTOM_COMMAND),
        "Commands of your own in the bot's menu; what they mean is up to the agent.",
    ),
    kept("silentErrorReplies", Kind::Bool),
    kept("autoTopicLabel", Kind::Any),
    kept("topics", Kind::Any),
    kept("execApprovals", Kind::Any),
];

const SLASH_COMMAND: &[Key] = &[
    live("name", Kind::Text, "The command that reaches the agent."),
    kept("enabled", Kind::Bool),
    kept("sessionPrefix", Kind::Text),
    kept("ephemeral", Kind::Bool),
];

const SLACK: &[Key] = &[
    live("botToken", Kind::Secret, "OAuth & Permissions → Bot User OAuth Token."),
    live("signingSecret", Kind::Secret, "Basic Information → App Credentials."),
    live(
        "appToken",
        Kind::Secret,
        "Only for Socket Mode, which is not needed here.",
    ),
    live(
        "channels",
        Kind::Map(&Kind::Object(&[GROUP])),
        "Channels by id; * for all others, and for what a channel does not say itself.",
    ),
    live(
        "slashCommand",
        Kind::Object(&[SLASH_COMMAND]),
        "A slash command of the app.",
    ),
    live("replyToMode", Kind::Text, "off, first or all: where answers stand."),
    live(
        "replyToModeByChatType",
        Kind::Map(&Kind::Text),
        "The same by kind of chat.",
    ),
    live("thread", Kind::Object(&[THREAD]), "Threads of rooms."),
    kept("nativeStreaming", Kind::Bool),
    kept("execApprovals", Kind::Any),
    kept("dangerouslyAllowNameMatching", Kind::Bool),
];

const THREAD: &[Key] = &[
    live(
        "requireExplicitMention",
        Kind::Bool,
        "Answer only when addressed, also in threads that the bot takes part in.",
    ),
    kept("historyScope", Kind::Text),
    kept("inheritParent", Kind::Bool),
    kept("initialHistoryLimit", Kind::Any),
];

const OWN_WEBHOOK: &str = "this service is reached by its own webhook";

/// Settings about how a gateway on a machine of one's own reaches the platform.
const LOCAL: &[Key] = &[
    elsewhere("webhookUrl", OWN_WEBHOOK),
    elsewhere("webhookPath", OWN_WEBHOOK),
    elsewhere("webhookHost", OWN_WEBHOOK),
    elsewhere("webhookPort", OWN_WEBHOOK),
    elsewhere("webhookCertPath", OWN_WEBHOOK),
    elsewhere("proxy", OWN_WEBHOOK),
    elsewhere("network", OWN_WEBHOOK),
    elsewhere("retry", OWN_WEBHOOK),
    elsewhere("timeoutSeconds", OWN_WEBHOOK),
    elsewhere("tokenFile", OWN_WEBHOOK),
    elsewhere("mode", OWN_WEBHOOK),
    elsewhere("userTokenReadOnly", OWN_WEBHOOK),
    elsewhere("healthMonitor", OWN_WEBHOOK),
    elsewhere("pollingStallThresholdMs", OWN_WEBHOOK),
];

const SOON: &str = "this channel is not available yet";

/// Channels of OpenClaw that this service does not have yet.
const NOT_YET: &[Key] = &[
    elsewhere("bluebubbles", SOON),
    elsewhere("discord", SOON),
    elsewhere("feishu", SOON),
    elsewhere("googlechat", SOON),
    elsewhere("imessage", SOON),
    elsewhere("irc", SOON),
    elsewhere("line", SOON),
    elsewhere("matrix", SOON),
    elsewhere("mattermost", SOON),
    elsewhere("msteams", SOON),
    elsewhere("nextcloud-talk", SOON),
    elsewhere("nostr", SOON),
    elsewhere("signal", SOON),
    elsewhere("synology-chat", SOON),
    elsewhere("twitch", SOON),
    elsewhere("whatsapp", SOON),
    elsewhere("zalo", SOON),
    elsewhere("zalouser", SOON),
];
