// OpenAI's own client for Node against /v1, unmodified. Needs OPENAI (the folder it is installed in), BASE_URL and TOKEN.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.OPENAI}/package.json`);
const { default: OpenAI, APIError } = await import(pathToFileURL(require.resolve("openai")));
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.TOKEN, maxRetries: 2 });
const user = (content) => [{ role: "user", content }];

const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.ok(models.includes("openclaw"), models);
assert.equal((await client.models.retrieve("openclaw")).id, "openclaw");

const whole = await client.chat.completions.create({ model: "openclaw", messages: user("hello #n1") });
assert.equal(whole.choices[0].message.content, "re: #n1 end");
assert.equal(whole.usage.total_tokens, 15);

const stream = await client.chat.completions.create({
  model: "openclaw", messages: user("[slow:400] hello #n2"), stream: true, stream_options: { include_usage: true },
});
let text = "";
let pieces = 0;
let usage;
for await (const chunk of stream) {
  const piece = chunk.choices[0]?.delta?.content;
  if (piece) { text += piece; pieces += 1; }
  usage = chunk.usage ?? usage;
}
assert.equal(text, "re: #n2 end");
assert.ok(pieces > 1, "in pieces");
assert.equal(usage.total_tokens, 15);

const response = await client.responses.create({ model: "openclaw", input: "hello #n3" });
assert.equal(response.output_text, "re: #n3 end");
const events = client.responses.stream({ model: "openclaw", input: "[slow:400] hello #n4", previous_response_id: response.id });
let deltas = "";
events.on("response.output_text.delta", (event) => { deltas += event.delta; });
const last = await events.finalResponse();
assert.equal(deltas, "re: #n4 end");
assert.equal(last.output_text, "re: #n4 end");

const tools = [{ type: "function", name: "weather", description: "Says the weather.", strict: false,
  parameters: { type: "object", properties: { place: { type: "string" } } } }];
const call = Buffer.from(JSON.stringify({ place: "Kyiv" })).toString("base64url");
const asked = await client.responses.create({ model: "openclaw", tools, input: `[tool:weather] [with:${call}] #n5` });
const [wanted] = asked.output.filter((item) => item.type === "function_call");
assert.deepEqual(JSON.parse(wanted.arguments), { place: "Kyiv" });
const told = await client.responses.create({
  model: "openclaw", tools, previous_response_id: asked.id,
  input: [{ type: "function_call_output", call_id: wanted.call_id, output: "sunny #n6" }],
});
assert.equal(told.output_text, "re: #n6 end");

const refused = async (attempt, type) => {
  await assert.rejects(attempt, (error) => error instanceof type && error instanceof APIError && error.message.length > 0);
};
const hello = { model: "openclaw", messages: user("hi") };
await refused(new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "claw_wrong" }).chat.completions.create(hello), OpenAI.AuthenticationError);
await refused(client.chat.completions.create({ ...hello, model: "gpt-4o" }), OpenAI.NotFoundError);
await refused(client.chat.completions.create({ ...hello, n: 2 }), OpenAI.BadRequestError);
await refused(client.chat.completions.create({ ...hello, messages: user("[status:401] #n7") }), OpenAI.InternalServerError);

const vectors = await client.embeddings.create({ model: "openclaw", input: ["car", "nothing"] });
assert.equal(vectors.data.length, 2);
assert.deepEqual(vectors.data[0].embedding.map((x) => Math.round(x * 10)), [10, 0, 0, 1]);
const plain = await client.embeddings.create({ model: "openclaw", input: "car", encoding_format: "float" });
assert.deepEqual(plain.data[0].embedding.map((x) => Math.round(x * 10)), [10, 0, 0, 1]);
assert.equal(plain.usage.total_tokens, 1);
await refused(client.embeddings.create({ model: "gpt-4o", input: "car" }), OpenAI.NotFoundError);
await refused(client.embeddings.create({ model: "openclaw", input: [[1, 2, 3]] }), OpenAI.BadRequestError);

const abort = new AbortController();
const hung = await client.chat.completions.create(
  { model: "openclaw", messages: user("[slow:300] gone #n8"), stream: true }, { signal: abort.signal });
for await (const _ of hung) { abort.abort(); break; }
console.log("openai for node: all steps passed");
