// The Control UI of the published openclaw package, served by a plain static server and pointed at the product:
// paired like any device, then its pages one by one. UI is its folder, UI_PORT the port its origin has (the product
// allows that origin), GATEWAY_URL and GATEWAY_TOKEN the product, APPROVE a command that approves a device and gets the
// request's id as last argument. CHROMIUM is the browser, PLAYWRIGHT the folder of the playwright package.
// Prints what each page asked for in vain or before it was connected, and one line at the end.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(import.meta.url);
const { chromium } = require(process.env.PLAYWRIGHT);
const folder = path.resolve(process.env.UI);
const origin = `http://127.0.0.1:${process.env.UI_PORT}`;

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
  ".woff2": "font/woff2",
};

/** The file of a path below any route, or the page itself. */
function fileOf(url) {
  const parts = decodeURIComponent(new URL(url, origin).pathname).split("/").filter(Boolean);
  for (let from = 0; from < parts.length; from += 1) {
    const file = path.join(folder, ...parts.slice(from));
    if (file.startsWith(folder) && fs.existsSync(file) && fs.statSync(file).isFile()) return file;
  }
  return path.join(folder, "index.html");
}

const server = http.createServer((request, response) => {
  if (request.url.startsWith("/control-ui-config.json")) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end("{}");
    return;
  }
  const file = fileOf(request.url);
  response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" });
  fs.createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(Number(process.env.UI_PORT), "127.0.0.1", ready));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
});

/** What a person would see go wrong: error banners, callouts and toasts, also inside shadow roots. */
function complaints() {
  const found = [];
  const visit = (element) => {
    const name = String(element.className?.baseVal ?? element.className ?? "");
    const words = (element.textContent ?? "").trim().replace(/\s+/g, " ");
    const loud = /callout[^"]*\bdanger\b|error-banner|status--danger|history-error|toast--(error|danger)/.test(name);
    if (loud && words && element.checkVisibility?.()) found.push(`${name.slice(0, 60)}: ${words.slice(0, 160)}`);
    if (element.shadowRoot) [...element.shadowRoot.children].forEach(visit);
    [...element.children].forEach(visit);
  };
  visit(document.body);
  return found;
}

try {
  const page = await browser.newPage({ viewport: { width: 1300, height: 850 } });
  page.setDefaultTimeout(60_000);
  const trouble = [];
  const inVain = new Set();
  const tooEarly = new Set();
  let at = "start";
  let answered = () => {};
  page.on("pageerror", (error) => trouble.push(`${at}: ${error}`));
  page.on("console", (message) => {
    // At the start it tries its own origin, and is refused until the device is approved.
    if (message.type() === "error" && at !== "start") trouble.push(`${at}: console: ${message.text()}`);
  });
  page.on("websocket", (socket) => {
    // Before the person has agreed to the other gateway, the page tries its own origin.
    if (!socket.url().startsWith(process.env.GATEWAY_URL)) return;
    const methods = new Map();
    // The channels page asks for plugins as soon as its socket is open, on a slow machine before the page has connected.
    // Any gateway refuses that and closes, and the page connects again.
    const early = new Set();
    let asked = false;
    socket.on("framesent", ({ payload }) => {
      const frame = JSON.parse(payload);
      if (frame.type !== "req") return;
      methods.set(frame.id, frame.method);
      asked ||= frame.method === "connect";
      if (!asked) early.add(frame.id);
    });
    socket.on("framereceived", ({ payload }) => {
      const frame = JSON.parse(payload);
      if (frame.type !== "res") return;
      const method = methods.get(frame.id);
      if (method === "connect") answered(frame);
      else if (!frame.ok && frame.error.message.startsWith("unknown method")) inVain.add(`${at}: ${method}`);
      else if (!frame.ok && early.has(frame.id)) {
        assert.equal(frame.error.message, "invalid handshake: first request must be connect");
        tooEarly.add(`${at}: ${method}`);
      } else if (!frame.ok) trouble.push(`${at}: ${method}: ${frame.error.message}`);
    });
  });
  const nextConnect = () => new Promise((resolve) => (answered = resolve));

  const connect = nextConnect();
  const link = `${origin}/?gatewayUrl=${encodeURIComponent(process.env.GATEWAY_URL)}#token=${process.env.GATEWAY_TOKEN}`;
  await page.goto(link);
  await page.getByRole("button", { name: /^switch to/i }).click();
  const refused = await connect;
  assert.equal(refused.ok, false, "a new device was let in without approval");
  const [command, ...rest] = JSON.parse(process.env.APPROVE);
  execFileSync(command, [...rest, refused.error.details.requestId]);
  // Told to wait and retry, the page comes back by itself.
  let again = await nextConnect();
  while (!again.ok && again.error.details?.code === "PAIRING_REQUIRED") again = await nextConnect();
  assert.equal(again.ok, true, JSON.stringify(again.error));

  const open = async (name, sign) => {
    at = name;
    const connected = nextConnect();
    await page.goto(`${origin}/${name}`);
    assert.equal((await connected).ok, true);
    await sign.waitFor();
    await page.waitForLoadState("networkidle");
    const shown = await page.evaluate(complaints);
    trouble.push(...shown.map((words) => `${name}: ${words}`));
    if (process.env.SHOTS) await page.screenshot({ path: path.join(process.env.SHOTS, `control-ui-${name}.png`) });
  };

  await open("chat", page.locator("textarea").first());
  const input = page.locator("textarea").first();
  await input.fill("[slow:500] #one #two #three #four");
  await input.press("Enter");
  await page.getByText("re: #one").first().waitFor();
  assert.equal(await page.getByText("#four end").count(), 0, "the answer came in one piece");
  await page.getByText("re: #one #two #three #four end").first().waitFor();
  for (const [name, words] of [
    ["overview", /main/i],
    ["sessions", /main/i],
    ["channels", /telegram/i],
    ["nodes", /exec/i],
    ["cron", /job|schedule|automation/i],
    ["config", /settings|config/i],
  ]) {
    await open(name, page.getByText(words).first());
  }
  for (const line of [...inVain].sort()) console.log(`asked in vain: ${line}`);
  for (const line of [...tooEarly].sort()) console.log(`asked before it was connected: ${line}`);
  assert.deepEqual(trouble, []);
  console.log("control ui: all steps passed");
} finally {
  await browser.close();
  server.close();
}
