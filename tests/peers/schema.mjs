// Holds frames against the published schemas. FRAMES is a file with one `{scenario, method?, frame}` a line, SCHEMAS the
// folder that @openclaw/gateway-protocol is installed in. A response is held against the result of the method it answers
// and an event against its payload, wherever the package has a schema by that name. Prints each breach once.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(process.env.SCHEMAS, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { ProtocolSchemas } = await load("@openclaw/gateway-protocol/schema");
const { Value } = await load("typebox/value");

/** `node.pair.requested` is NodePairRequested…, `system-presence` SystemPresence…. */
const named = (name) =>
  name
    .split(/[.-]/)
    .map((part) => part[0].toUpperCase() + part.slice(1))
    .join("");

/** Names of the schemas that a frame has to fit, with the part of it that each is about. */
function* duties({ method, frame }) {
  if (frame.type === "event") {
    yield ["EventFrame", frame];
    yield [`${named(frame.event)}Event`, frame.payload];
    if (frame.event === "presence") for (const entry of frame.payload.presence) yield ["PresenceEntry", entry];
    return;
  }
  yield ["ResponseFrame", frame];
  if (!frame.ok) yield ["ErrorShape", frame.error];
  else if (method === "connect") yield ["HelloOk", frame.payload];
  else if (method) yield [`${named(method)}Result`, frame.payload];
}

/** What the original gateway 2026.9.6 sends and these schemas, which are of 2026.9.1, do not know yet: by schema and place. */
const NEWER = {
  "HelloOk ": ["controlUiLinkReaders"],
  "HelloOk /auth": ["method"],
  "HelloOk /snapshot/health/eventLoop": ["cpuBreakdown"],
  "HelloOk /snapshot/presence/*": ["clientId"],
  "AgentEvent ": ["agentId", "lane", "sessionId", "sessionKey"],
  "PresenceEntry ": ["clientId"],
};

const breaches = new Map();
const used = new Map();
let frames = 0;
for (const line of fs.readFileSync(process.env.FRAMES, "utf8").split("\n").filter(Boolean)) {
  const entry = JSON.parse(line);
  frames += 1;
  for (const [name, value] of duties(entry)) {
    const schema = ProtocolSchemas[name];
    if (!schema) continue;
    used.set(name, (used.get(name) ?? 0) + 1);
    if (Value.Check(schema, value)) continue;
    for (const error of Value.Errors(schema, value)) {
      // A list's places are one place.
      const place = error.instancePath.replace(/\/\d+/g, "/*");
      const more = error.params?.additionalProperties;
      if (more?.every((key) => NEWER[`${name} ${place}`]?.includes(key))) continue;
      const what = `${name} ${entry.method ?? entry.frame.event ?? ""} ${place}: ${error.message} ${JSON.stringify(error.params ?? {})}`;
      if (!breaches.has(what)) breaches.set(what, entry.scenario);
    }
  }
}
for (const [what, scenario] of breaches) console.error(`${what.slice(0, 400)} (${scenario})`);
if (breaches.size > 0) process.exit(1);
const counted = [...used].map(([name, count]) => `${name} ${count}`).join(", ");
console.log(`schema: ${frames} frames fit ${used.size} schemas: ${counted}`);
