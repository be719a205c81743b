// Runs golden cases on the GPU of headless Chromium, op by op, and prints what came of it.
//
//   node conformance.mjs PLAYWRIGHT CHROMIUM URL [OP..]

import { pathToFileURL } from 'node:url';

const [playwright, executablePath, url, ...only] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(playwright).href);

/** Of the cases that are no first of their kind, one in so many. */
const STEP = 10;

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
});
const page = await browser.newPage();
let failed = 0;
const fault = (text) => {
  failed += 1;
  console.log(`  FAULT ${text}`);
};
page.on('pageerror', (error) => fault(error.stack ?? error.message));
page.on('console', (message) => {
  if (message.type() === 'error') fault(message.text().slice(0, 400));
});
await page.goto(`${url}conformance.html`);
await page.waitForFunction(() => globalThis.conformance, null, { timeout: 120_000 });
const { gpu, name, ops } = await page.evaluate(() => ({ ...globalThis.conformance, run: undefined, faults: undefined }));
console.log(`Chromium ${browser.version()}: ${name}`);
if (!gpu) fault('no GPU: the cases would say nothing of one');

let [cases, halves, worst] = [0, 0, 0];
const chosen = ops.filter((op) => gpu && (only.length === 0 || only.includes(op)));
for (const op of chosen) {
  const begun = Date.now();
  const report = await page.evaluate(([op, step]) => globalThis.conformance.run(op, step), [op, STEP]);
  for (const failure of report.failures) fault(failure);
  cases += report.cases ?? 0;
  halves += report.halves ?? 0;
  worst = Math.max(worst, report.worst ?? 0);
  console.log(`  ${op.padEnd(34)} ${String(report.cases).padStart(4)} of ${String(report.of).padStart(4)} cases, ${report.halves} in 16 bits, `
    + `${report.values} values, worst norm ${report.worst?.toExponential(1)}, ${((Date.now() - begun) / 1000).toFixed(1)} s`);
}
if (chosen.length === ops.length && cases < 300) fault(`only ${cases} cases`);
console.log(`  ${cases} golden cases and ${halves} calls in 16 bits; worst error of a tensor's norm ${worst.toExponential(1)}; ${failed} failed`);

if (gpu && only.length === 0) {
  // Faults of a device, which the browser also complains of.
  const other = await browser.newPage();
  await other.goto(`${url}conformance.html`);
  await other.waitForFunction(() => globalThis.conformance, null, { timeout: 120_000 });
  const lines = await other.evaluate(() => globalThis.conformance.faults());
  for (const line of lines) fault(line);
  console.log(`  a refused shader, a lost device: ${lines.length === 0 ? 'each ends in its error' : 'see above'}`);
}
await browser.close();
process.exit(failed > 0 ? 1 : 0);
