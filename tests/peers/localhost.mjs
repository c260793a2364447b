// Preloaded into the published client (NODE_OPTIONS=--import=…): `<tenant>.localhost` is this machine, as in a browser;
// the system's resolver need not know such names.
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";

const here = { address: "127.0.0.1", family: 4 };
const isHere = (name) => typeof name === "string" && name.endsWith(".localhost");
const { lookup } = dns;
const { lookup: promised } = dns.promises;

dns.lookup = (name, options, done) => {
  const [wishes, answer] = typeof options === "function" ? [{}, options] : [options, done];
  if (!isHere(name)) return lookup(name, wishes, answer);
  process.nextTick(() => (wishes?.all ? answer(null, [here]) : answer(null, here.address, here.family)));
};
dns.promises.lookup = async (name, options) => {
  if (!isHere(name)) return promised(name, options);
  return options?.all ? [here] : here;
};
syncBuiltinESMExports();
