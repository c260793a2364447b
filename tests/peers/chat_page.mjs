// The Chat page in a real Chromium: follow the sign-in link (LINK), type, watch the answer stream in.
// CHROMIUM is the browser, PLAYWRIGHT the folder of the playwright package. Prints one line at the end.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { chromium } = require(process.env.PLAYWRIGHT);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  const trouble = [];
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy/i.test(message.text())) trouble.push(message.text());
  });
  const response = await page.goto(process.env.LINK);
  assert.equal(response.status(), 200);
  assert.match(response.headers()["content-security-policy"] ?? "", /script-src[^;]*'self'/);
  const input = page.getByRole("textbox").first();
  await input.waitFor();
  // The code is spent and out of the address bar.
  assert.ok(!page.url().includes("sign-in="), page.url());
  // Streaming: the page itself notes whether a first part stood there before the last word did, however slow we look.
  await page.evaluate(() => {
    window.sawPart = false;
    const look = () => {
      const text = everyText(document.body);
      window.sawPart ||= text.includes("re: #one") && !text.includes("#four end");
      requestAnimationFrame(look);
    };
    const everyText = (node) =>
      node instanceof Text
        ? node.data
        : [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes].map(everyText).join("");
    look();
  });
  await input.fill("[slow:600] #one #two #three #four");
  await input.press("Enter");
  await page.getByText("re: #one #two #three #four end").first().waitFor();
  assert.ok(await page.evaluate(() => window.sawPart), "the answer came in one piece");
  // A reload shows the stored conversation, still signed in.
  await page.reload();
  await page.getByText("re: #one #two #three #four end").first().waitFor();
  assert.deepEqual(trouble, []);
  console.log("chat page: all steps passed");
} finally {
  await browser.close();
}
