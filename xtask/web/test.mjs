// Opens the page in headless Chromium as a visitor does: every chapter, every figure, every control by keyboard. Writes what the page
// answered as lines of JSON for the judge, and screenshots; prints what is wrong, one line each.
//
//   node test.mjs PLAYWRIGHT CHROMIUM URL MODE OUT [CHAPTER..]       MODE: gpu or cpu

import { mkdirSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [playwright, executablePath, url, mode, out, ...only] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(playwright).href);
mkdirSync(out, { recursive: true });

const COMMON = ['--no-sandbox', '--disable-gpu-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const MODES = {
  gpu: ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
  cpu: [],
};
const faults = [];
const fault = (text) => {
  faults.push(text);
  console.log(`  FAULT ${text}`);
};
const answers = [];

const browser = await chromium.launch({ executablePath, args: [...COMMON, ...MODES[mode]] });
console.log(`Chromium ${browser.version()}, ${mode}`);

/** A page that complains about messages, failures, and requests beyond its own folder. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) fault(`console: ${message.text().slice(0, 600)}`);
  });
  page.on('pageerror', (error) => fault(`page: ${error.stack ?? error.message}`));
  page.on('requestfailed', (request) => fault(`request: ${request.url()} ${request.failure()?.errorText}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) fault(`a request to ${request.url()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) fault(`${response.status()} of ${response.url()}`);
  });
  // A browser that does not have WebGPU, whatever this one has.
  if (mode === 'cpu') await page.addInitScript(() => { delete Navigator.prototype.gpu; });
  await page.addInitScript((by) => {
    globalThis.answered = [];
    document.addEventListener('answered', (event) => {
      if (event.detail.answer.by === by) globalThis.answered.push(event.detail);
    });
  }, mode);
  return page;
}

const idle = (page) => page.waitForFunction(() => !document.documentElement.hasAttribute('data-busy'), null, { timeout: 300_000, polling: 10 });

const page = await open({ viewport: { width: 1280, height: 900 } });
const started = Date.now();
await page.goto(url);
await page.waitForFunction(() => document.querySelector('#start .value')?.dataset.loss, null, { timeout: 300_000, polling: 10 });
const first = Date.now() - started;
await idle(page);
console.log(`  first answer after ${first} ms, first of the ${mode} after ${Date.now() - started} ms: ${await page.textContent('#device')}`);
if (mode === 'cpu' && (await page.getAttribute('#device', 'class')) !== 'device cpu') fault('no note that the CPU computes');
if (mode === 'gpu' && (await page.getAttribute('#device', 'class')) !== 'device') fault('the GPU is not used');

// What holds of the whole text: headings in order, links that lead somewhere, names that are there once, controls with names.
for (const line of await page.evaluate(() => {
  const lines = [];
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  for (const id of ids.filter((id, k) => ids.indexOf(id) !== k)) lines.push(`the id ${id} is there twice`);
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    if (!document.getElementById(link.hash.slice(1))) lines.push(`${link.hash} leads nowhere`);
  }
  for (const section of document.querySelectorAll('section.chapter')) {
    let before = 0;
    for (const { localName, textContent } of section.querySelectorAll('h1, h2, h3, h4')) {
      const level = Number(localName[1]);
      if (level > before + 1) lines.push(`${section.id}: ${localName} ${textContent} follows h${before}`);
      before = level;
    }
    if (section.querySelectorAll('h1').length !== 1) lines.push(`${section.id} has not one title`);
  }
  return lines;
})) fault(line);

const chapters = await page.$$eval('#main > section.chapter', (sections) => sections.map(({ id }) => id));
for (const chapter of chapters.filter((name) => only.length === 0 || only.includes(name))) {
  await page.evaluate((name) => { location.hash = name; }, chapter);
  await page.waitForSelector(`#${chapter}.current`);
  await page.waitForFunction((name) => [...document.querySelectorAll(`#${name} .figure`)].every((figure) => {
    const value = figure.querySelector('.value');
    return value && (value.dataset.loss || !figure.querySelector('.refused').hidden);
  }), chapter, { timeout: 300_000, polling: 20 });
  await idle(page);
  const figures = await page.$$(`#${chapter} .figure`);
  let moved = 0;
  const begun = Date.now();
  for (const [k, figure] of figures.entries()) moved += await touch(figure, await figure.getAttribute('id'), mode === 'cpu' || k === 0);
  answers.push(...await page.evaluate(() => globalThis.answered.splice(0)));
  if (figures.length > 0) console.log(`  ${chapter.padEnd(24)} ${String(figures.length).padStart(2)} figures, ${String(moved).padStart(3)} controls, ${Date.now() - begun} ms`);
}

if (only.length === 0 || only.includes('race')) await race();
if (only.length === 0 || only.includes('head')) await head();

/** Steps, pause and reset of the race; every option changes how it goes, and the same choice goes the same way. */
async function race() {
  const begun = Date.now();
  await page.evaluate(() => { location.hash = 'race'; });
  const data = (name) => page.$eval('#race', (section, key) => section.dataset[key], name);
  const until = (states, steps = 0) => page.waitForFunction(([names, least]) => {
    const { state, steps: done } = document.querySelector('#race').dataset;
    return state === 'refused' || (names.includes(state) && Number(done) >= least);
  }, [states, steps], { timeout: 300_000, polling: 20 });
  const shown = () => page.$eval('#race table', (table) => table.innerText);
  const five = async () => {
    await page.click('.race .restart');
    await page.waitForFunction(() => document.querySelector('#race').dataset.steps === '0', null, { timeout: 300_000, polling: 20 });
    for (let step = 1; step <= 5; step += 1) {
      await page.click('.race .step');
      await until(['paused'], step);
    }
    return shown();
  };
  await until(['ready']);
  const first = await five();
  if ((await five()) !== first) fault('race: the same race goes another way');
  await page.$eval('#race details', (details) => { details.open = true; });
  let [before, count] = [first, 0];
  for (const slider of await page.$$('#race details [data-option] [role=slider]')) {
    const name = await slider.getAttribute('aria-label');
    await slider.focus();
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowRight']) await page.keyboard.press(key);
    const after = await five();
    if (after === before) fault(`race: nothing moves with ${name}`);
    [before, count] = [after, count + 1];
  }
  if (count < 4) fault(`race: only ${count} options`);
  await page.click('.race .play');
  await until(['running', 'finished'], 25);
  if ((await data('state')) === 'running') await page.click('.race .play');
  await until(['paused', 'finished']);
  const [paused, figures] = [await data('steps'), await shown()];
  if (figures === before) fault('race: the figures stand still');
  await page.waitForTimeout(300);
  if ((await data('steps')) !== paused) fault('race: it goes on after a pause');
  if ((await data('state')) === 'refused') fault('race: refused');
  console.log(`  ${'race'.padEnd(24)} ${paused} steps, ${count} controls, ${Date.now() - begun} ms`);
}

/** The head: another temperature and other rows are looked at anew, and times arrive. */
async function head() {
  const begun = Date.now();
  await page.evaluate(() => { location.hash = 'head'; });
  const looked = (least) => page.waitForFunction((most) => Number(document.querySelector('#head').dataset.looks) >= most, least, { timeout: 300_000, polling: 20 });
  const data = (name) => page.$eval('#head', (section, key) => section.dataset[key], name);
  await looked(1);
  let looks = Number(await data('looks'));
  const loss = await data('loss');
  await page.focus('#head [role=slider]');
  await page.keyboard.press('ArrowRight');
  await looked(looks + 1);
  if ((await data('loss')) === loss) fault('head: the temperature changes nothing');
  // Other rows hold the same values in another order: the same loss, looked at anew.
  looks = Number(await data('looks'));
  await page.locator('#head input[name=head-rows]').nth(1).focus();
  await page.keyboard.press('Space');
  await looked(looks + 1);
  await page.waitForFunction(() => Number(document.querySelector('#head').dataset.fused) > 0 && Number(document.querySelector('#head').dataset.copy) > 0, null, { timeout: 300_000, polling: 50 });
  console.log(`  ${'head'.padEnd(24)} ${await data('looks')} looks, ${Date.now() - begun} ms`);
}

/**
 * The worked example, then every control if `all`: each must move something that is computed. On a software GPU, which compiles for long,
 * the first figure of a chapter stands for the others' controls.
 */
async function touch(figure, id, all) {
  const refused = await figure.$eval('.refused', (element) => (element.hidden ? '' : element.textContent));
  if (refused) fault(`${id}: ${refused}`);
  const expected = await figure.$('.expected');
  if (expected && !(await expected.getAttribute('class')).includes('same')) {
    fault(`${id}: ${await figure.$eval('.value', (value) => value.dataset.loss)}, ${await expected.textContent()}`);
  }
  for (const control of await figure.$$('input, select, [role=slider], button')) {
    const name = await control.evaluate((element) => element.getAttribute('aria-label') || element.labels?.[0]?.textContent || element.textContent);
    if (!name.trim()) fault(`${id}: no name of ${await control.evaluate((element) => element.outerHTML)}`);
  }
  if (!all) return 0;
  // A box that switches others on comes first.
  for (const box of await figure.$$('.controls input[type=checkbox]')) {
    if (!(await box.isChecked())) await act(figure, id, box, ['Space']);
  }
  let count = 0;
  const tried = '[role=slider], select, input, button.sign';
  for (const control of await figure.$$(tried)) {
    if (!(await control.isVisible())) continue;
    const role = await control.evaluate((element) => element.getAttribute('role') ?? element.type ?? element.localName);
    const keys = {
      slider: ['ArrowRight', 'ArrowLeft', 'End', 'Home'], radio: ['Space'], checkbox: ['Space'], button: ['Enter'],
      number: ['ArrowUp', 'ArrowDown', 'ArrowUp'],
    }[role] ?? ['ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowDown', 'Home'];
    if (role === 'radio' && (await control.isChecked())) continue;
    count += 1;
    if (!(await act(figure, id, control, keys))) {
      fault(`${id}: nothing moves with ${await control.evaluate((element) => element.getAttribute('aria-label') ?? element.closest('.control')?.textContent ?? element.outerHTML)}`);
    }
    // An ignored row would hide what the other controls do.
    if (await control.evaluate((element) => element.closest('.ignore') !== null)) await act(figure, id, await figure.$('.row input[type=radio]'), ['Space']);
  }
  const before = await seen(figure);
  await (await figure.$('.reset')).click();
  await idle(page);
  if (count > 0 && (await seen(figure)) === before) fault(`${id}: nothing is reset`);
  return count;
}

/** Presses keys until something that is computed changes. */
async function act(figure, id, control, keys) {
  const before = await seen(figure);
  for (const key of keys) {
    await control.focus();
    await page.keyboard.press(key);
    await idle(page);
    const refused = await figure.$eval('.refused', (element) => (element.hidden ? '' : element.textContent));
    if (refused) fault(`${id}: ${refused}`);
    if ((await seen(figure)) !== before) return true;
  }
  return false;
}

/** What a figure shows of its answer; nothing of its controls. */
function seen(figure) {
  return figure.evaluate((element) => [
    element.querySelector('.value').dataset.loss, element.querySelector('.line code').textContent,
    ...[...element.querySelectorAll('.curve path, .curve circle')].map((shape) => shape.outerHTML),
    ...[...element.querySelectorAll('.meter .number, .cost')].map((text) => text.textContent),
  ].join('\n'));
}

// The frame: menu, colours, chapters by keyboard.
await page.click('#theme');
if (!(await page.getAttribute('html', 'data-theme'))) fault('the colours do not change');
await page.evaluate(() => localStorage.clear());
await page.context().close();

if (mode === 'cpu') {
  for (const [width, height] of [[390, 844], [1280, 900]]) {
    for (const colorScheme of ['light', 'dark']) {
      const shot = await open({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' });
      for (const chapter of chapters.filter((name) => only.length === 0 || only.includes(name))) {
        await shot.goto(`${url}#${chapter}`);
        await shot.waitForSelector(`#${chapter}.current`);
        await shot.waitForTimeout(150);
        await idle(shot);
        const wide = await shot.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) fault(`${chapter} is ${wide} px wider than a window of ${width}`);
        await shot.screenshot({ path: `${out}/${chapter}-${width}-${colorScheme}.png`, fullPage: true });
      }
      await shot.context().close();
    }
  }
}

await browser.close();
writeFileSync(`${out}/answers-${mode}.jsonl`, answers.map((answer) => JSON.stringify(answer) + '\n').join(''));
console.log(`  ${answers.length} answers, ${faults.length} faults`);
process.exit(faults.length > 0 ? 1 : 0);
