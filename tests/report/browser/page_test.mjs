// node page_test.mjs PAGE JSON [SCREENSHOT_PREFIX]: opens PAGE in headless chromium (OUNCE_BROWSER, by
// default /usr/bin/chromium) and checks it against JSON. Exit 0 when all is well; else one line a
// failure and exit 1.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../../web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const [page_path, json_path, screenshot] = process.argv.slice(2);
const report = JSON.parse(readFileSync(json_path, "utf8"));
const failures = [];
const check = (condition, text) => {
  if (!condition) failures.push(text);
};

const browser = await chromium.launch({
  executablePath: process.env.OUNCE_BROWSER || "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/// Opens the page in one colour scheme and returns it with what it complained about.
async function open(colorScheme, width = 1200) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
  const page = await context.newPage();
  const url = pathToFileURL(page_path).href;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) failures.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => failures.push(`script error: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) failures.push(`request to ${request.url()}`);
  });
  await page.goto(url);
  await page.waitForTimeout(200);
  return page;
}

/// Every canvas with the number of its pixels that have the colour of the quantized series: axes and
/// legends alone are no chart.
const canvases = (page) => page.evaluate(() => [...document.querySelectorAll("canvas")].map((canvas) => {
  // A copy: reading the page's own canvas back makes the browser warn.
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  const hex = getComputedStyle(document.documentElement).getPropertyValue("--quantized").trim();
  const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  let colored = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (wanted.every((value, channel) => Math.abs(data[i + channel] - value) < 3) && data[i + 3] > 250) ++colored;
  }
  return { label: canvas.getAttribute("aria-label"), colored };
}));

/// Body cells of the table, row by row; null when there is none.
const cells = (page, id) => page.evaluate((wanted) => {
  const table = document.getElementById(wanted);
  return table && [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
}, id);

const known = (value) => typeof value === "number";
const shown = (value, digits) => (known(value) ? value.toFixed(digits) : "–");

async function check_tables(page) {
  const decibels = (value) => (value < 200 ? value.toFixed(2) : "exact");
  const expected = {
    "error-table": report.errors.map((one) => [one.name, one.op, decibels(one.own_sqnr_db),
      decibels(one.accumulated_sqnr_db), shown(one.own_cosine, 6), shown(one.accumulated_cosine, 6)]),
    "diagnosis-table": report.diagnoses.map((one) => [one.name, one.disease, one.words, one.flag]),
    "sensitivity-table": (report.sensitivity?.layers ?? []).map((one) => [one.name, one.op,
      decibels(one.alone_db), decibels(one.restored_db)]),
    "latency-table": report.pieces
      .map((piece) => [piece.name, piece.op, shown(piece.float_ms, 4), shown(piece.quantized_ms, 4)]),
    "bits-table": report.layers.map((layer) => [layer.name, layer.op, layer.weights, layer.activations]),
    "kept-table": report.kept_float.map((kept) => [kept.name, kept.op, kept.reason]),
    "search-table": (report.search?.points ?? []).map((point) =>
      [point.best ? `${point.kind} (chosen)` : point.kind, `${(point.metric * 100).toFixed(2)} %`]),
    "raised-table": (report.search?.raised ?? []).map((one) => [one.name, one.op, one.from, one.to]),
    "histogram-table": report.histograms.map((one) => [one.tensor, one.rule, String(one.bits)]),
  };
  for (const [id, rows] of Object.entries(expected)) {
    const found = (await cells(page, id)) ?? [];
    check(found.length === rows.length, `${id}: ${found.length} rows, expected ${rows.length}`);
    rows.forEach((row, r) => row.forEach((cell, c) =>
      check(found[r]?.[c] === cell, `${id} row ${r} column ${c}: "${found[r]?.[c]}", expected "${cell}"`)));
  }
  const summary = Object.fromEntries((await cells(page, "before-after-table")).map((row) => [row[0], row.slice(1)]));
  for (const metric of report.metrics) {
    const percent = (value) => (known(value) ? `${(value * 100).toFixed(2)} %` : "–");
    check(summary[metric.name]?.[0] === percent(metric.before), `${metric.name} before: ${summary[metric.name]?.[0]}`);
    check(summary[metric.name]?.[1] === percent(metric.after), `${metric.name} after: ${summary[metric.name]?.[1]}`);
  }
  if (known(report.before.median_ms)) {
    check(summary["latency, median"]?.[0].startsWith(report.before.median_ms.toPrecision(3).slice(0, 3)),
      `median before: ${summary["latency, median"]?.[0]}`);
  }
}

async function check_charts(page, theme) {
  const expected = report.histograms.length + (report.search ? 2 : 0)
    + [report.layers, report.errors, report.pieces, report.sensitivity?.layers ?? []].filter((rows) => rows.length).length;
  const drawn = await canvases(page);
  check(drawn.length === expected, `${theme}: ${drawn.length} charts, expected ${expected}`);
  for (const canvas of drawn) {
    check(canvas.colored > 500, `${theme}: chart "${canvas.label}" shows ${canvas.colored} pixels of its series`);
  }
}

try {
  for (const theme of ["light", "dark"]) {
    const page = await open(theme);
    await check_charts(page, theme);
    check(await page.evaluate(() => document.documentElement.dataset.theme) === theme, `${theme}: theme not followed`);
    if (theme === "light") await check_tables(page);
    check(await page.textContent("#model") === report.model, "the model's name is not the heading");
    check(await page.evaluate(() => window.broken) === undefined, "a name from the file ran as a script");
    check(await page.evaluate(() => [...document.querySelectorAll("canvas")].every((canvas) =>
      canvas.getAttribute("aria-label") && (canvas.closest("section").querySelector("table")))), "a chart lacks its label or table");
    if (screenshot) await page.screenshot({ path: `${screenshot}-${theme}.png`, fullPage: true });
    await page.click("#theme");
    await check_charts(page, `${theme}, switched`);
    await page.context().close();
  }
  const narrow = await open("light", 400);
  check(await narrow.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "a narrow window scrolls sideways");
  if (screenshot) await narrow.screenshot({ path: `${screenshot}-narrow.png`, fullPage: true });
} finally {
  await browser.close();
}
for (const failure of failures) console.log(`page: ${failure}`);
process.exit(failures.length ? 1 : 0);
