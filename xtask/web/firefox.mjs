// Opens the page in headless Firefox by WebDriver BiDi: every chapter's worked examples, one move by keyboard in each figure, and what the
// browser complains of. Writes the answers for the judge.
//
//   node --experimental-websocket firefox.mjs FIREFOX URL OUT [CHAPTER..]

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [firefox, url, out, ...only] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const profile = mkdtempSync(join(tmpdir(), 'deeploss-firefox-'));
writeFileSync(join(profile, 'user.js'), Object.entries({
  'dom.webgpu.enabled': true, 'gfx.webgpu.ignore-blocklist': true, 'app.update.enabled': false, 'datareporting.policy.dataSubmissionEnabled': false,
  'browser.shell.checkDefaultBrowser': false, 'network.captive-portal-service.enabled': false, 'remote.active-protocols': 1,
}).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(''));

const browser = spawn(firefox, ['--headless', '--no-remote', '--remote-debugging-port', '0', '--profile', profile, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
const address = await new Promise((resolve, reject) => {
  let text = '';
  browser.stderr.on('data', (data) => {
    text += data;
    const found = /WebDriver BiDi listening on (ws:\S+)/.exec(text);
    if (found) resolve(found[1]);
  });
  browser.on('exit', () => reject(new Error(`Firefox ended: ${text}`)));
  setTimeout(() => reject(new Error(`Firefox does not listen: ${text}`)), 90_000).unref();
});

const socket = new WebSocket(`${address}/session`);
await new Promise((resolve, reject) => {
  socket.addEventListener('open', resolve);
  socket.addEventListener('error', reject);
});
const waiting = new Map();
const faults = [];
const fault = (text) => {
  faults.push(text);
  console.log(`  FAULT ${text}`);
};
socket.addEventListener('message', ({ data }) => {
  const message = JSON.parse(data);
  if (message.id !== undefined) {
    const [resolve, reject] = waiting.get(message.id);
    if (message.type === 'error') reject(new Error(`${message.error}: ${message.message}`));
    else resolve(message.result);
  } else if (message.method === 'log.entryAdded' && ['error', 'warn'].includes(message.params.level)) {
    fault(`console: ${message.params.text?.slice(0, 400)}`);
  }
});
let count = 0;
const send = (method, params) => new Promise((resolve, reject) => {
  waiting.set(++count, [resolve, reject]);
  socket.send(JSON.stringify({ id: count, method, params }));
});

const { capabilities } = await send('session.new', { capabilities: {} });
await send('session.subscribe', { events: ['log.entryAdded'] });
const { contexts } = await send('browsingContext.getTree', {});
const context = contexts[0].context;

/** What a function of the page's gives, as JSON. */
async function run(of, ...given) {
  const expression = `(async () => JSON.stringify(await (${of})(...${JSON.stringify(given)})))()`;
  const outcome = await send('script.evaluate', { expression, target: { context }, awaitPromise: true });
  if (outcome.type === 'exception') throw new Error(outcome.exceptionDetails.text);
  return JSON.parse(outcome.result.value ?? 'null');
}

await send('browsingContext.navigate', { context, url, wait: 'complete' });
await run(() => {
  globalThis.answered = [];
  document.addEventListener('answered', (event) => globalThis.answered.push(event.detail));
});
const begun = Date.now();
const seen = await run(async () => {
  const until = async (of) => { while (!of()) await new Promise((next) => setTimeout(next, 20)); };
  await until(() => document.querySelector('#start .value')?.dataset.loss && !document.documentElement.hasAttribute('data-busy'));
  return { device: document.getElementById('device').textContent, chapters: [...document.querySelectorAll('section.chapter')].map(({ id }) => id) };
});
console.log(`Firefox ${capabilities.browserVersion}: ${seen.device}, ${Date.now() - begun} ms`);

const answers = [];
for (const chapter of seen.chapters.filter((name) => only.length === 0 || only.includes(name))) {
  const lines = await run(async (name) => {
    const idle = async (of = () => true) => {
      do await new Promise((next) => setTimeout(next, 20)); while (document.documentElement.hasAttribute('data-busy') || !of());
    };
    location.hash = name;
    const figures = [...document.querySelectorAll(`#${name} .figure`)];
    await idle(() => figures.every((figure) => figure.querySelector('.value')?.dataset.loss || figure.querySelector('.refused:not([hidden])')));
    const lines = [];
    for (const figure of figures) {
      const expected = figure.querySelector('.expected');
      if (expected && !expected.classList.contains('same')) lines.push(`${figure.id}: ${figure.querySelector('.value').dataset.loss}, ${expected.textContent}`);
      const refused = figure.querySelector('.refused:not([hidden])');
      if (refused) lines.push(`${figure.id}: ${refused.textContent}`);
      const before = figure.querySelector('.curve').outerHTML;
      const slider = figure.querySelector('.slider');
      for (const key of ['ArrowRight', 'ArrowLeft', 'ArrowLeft']) slider.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
      await idle();
      if (figure.querySelector('.curve').outerHTML === before) lines.push(`${figure.id}: nothing moves ${figure.querySelector('.refused').textContent}`);
    }
    return lines;
  }, chapter);
  lines.forEach(fault);
  answers.push(...await run(() => globalThis.answered.splice(0)));
}
writeFileSync(`${out}/answers-firefox.jsonl`, answers.map((answer) => JSON.stringify(answer) + '\n').join(''));
console.log(`  ${answers.length} answers, ${answers.filter(({ answer }) => answer.by === 'gpu').length} of them by the GPU, ${faults.length} faults`);
await Promise.race([send('browser.close', {}).catch(() => {}), new Promise((next) => setTimeout(next, 3000))]);
browser.removeAllListeners('exit');
browser.kill();
await new Promise((next) => setTimeout(next, 500));
rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
process.exit(faults.length > 0 ? 1 : 0);
