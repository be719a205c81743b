// Begins the page: the program, the device, navigation, colours.

import init, * as wasm from './deeploss_web.js';
import { build } from './chapters.js';

const OWN = { race: () => import('./race.js'), head: () => import('./head.js') };

const root = document.documentElement;
const main = document.getElementById('main');
const sections = [...main.querySelectorAll('section.chapter')];
const links = [...document.querySelectorAll('#navigation a')];
const order = ['start', ...links.map((link) => link.hash.slice(1))];
root.classList.add('script');

/** Milliseconds after which nobody waits for a shader to be compiled. */
const PATIENCE = 300;

/**
 * One computation at a time on the whole page. Each asker's newest call is kept, and the rest are forgotten. While the GPU lets wait, which
 * it does when it meets a kernel for the first time, the CPU reference answers.
 */
function computer(device, cpu, onslow, onlost) {
  const waiting = new Map();
  let [isBusy, isSlow] = [false, false];
  const answered = async (on, call) => ({ ...JSON.parse(await wasm.answer(on, JSON.stringify(call))), by: on === cpu ? 'cpu' : 'gpu' });
  async function meanwhile(call, then) {
    const answer = await answered(cpu, call);
    if (isSlow) then(call, answer);
  }
  function slow(is) {
    if (is !== isSlow) onslow(is);
    isSlow = is;
  }
  async function work() {
    isBusy = true;
    root.toggleAttribute('data-busy', true);
    for (let next = waiting.entries().next(); !next.done; next = waiting.entries().next()) {
      const [asker, { call: of, then }] = next.value;
      waiting.delete(asker);
      const call = of();
      const late = device === cpu ? 0 : setTimeout(() => {
        slow(true);
        meanwhile(call, then);
      }, PATIENCE);
      let answer = await answered(device, call);
      clearTimeout(late);
      if (answer.failed && device !== cpu) {
        // A device that failed once is not trusted again.
        onlost(answer.error);
        device = cpu;
        answer = await answered(cpu, call);
      }
      // What the CPU has answered since is newer.
      const isStale = isSlow && waiting.has(asker);
      slow(false);
      if (!isStale) then(call, answer);
    }
    isBusy = false;
    root.toggleAttribute('data-busy', false);
  }
  return (asker, call, then) => {
    waiting.set(asker, { call, then });
    if (!isBusy) work();
    else if (isSlow) meanwhile(call(), then);
  };
}

const ready = (async () => {
  await init();
  const wantsCpu = new URLSearchParams(location.search).has('cpu');
  const device = await wasm.Device.open(wantsCpu);
  const words = await say(device);
  const cpu = device.gpu ? await wasm.Device.open(true) : device;
  const slow = (isSlow) => words(isSlow ? 'Compiling shaders; until then the CPU reference answers' : null);
  const lost = (error) => {
    const place = document.getElementById('device');
    place.classList.add('cpu');
    place.title = error;
    words('The GPU failed: computed by the CPU reference', true);
  };
  const compute = computer(device, cpu, slow, lost);
  return { wasm, device, losses: JSON.parse(wasm.losses()), compute };
})();

/** Says where the numbers come from; gives what to say something else by, for good or until it is called with nothing. */
async function say(device) {
  const place = document.getElementById('device');
  place.classList.toggle('cpu', !device.gpu);
  if (device.gpu) {
    // Browsers keep a card's name to themselves, and tell who made it.
    const { vendor, architecture } = (await navigator.gpu.requestAdapter())?.info ?? {};
    const maker = [vendor, architecture].filter(Boolean).join(' ');
    place.textContent = `Computed by shaders on your GPU${maker ? ` (${maker})` : ''}`;
    place.title = device.name;
  } else {
    place.textContent = 'No GPU here: computed by the CPU reference';
    place.title = device.whyCpu;
  }
  let usual = place.textContent;
  return (words, forGood = false) => {
    if (forGood) usual = words;
    place.textContent = words ?? usual;
  };
}

/** What is alive in a section, once it has been shown. */
const alive = new Map();
let shown = null;

async function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const target = document.getElementById(wanted);
  const section = target?.closest('section.chapter') ?? sections[0];
  const isNew = section !== shown;
  if (isNew) {
    if (shown) (await alive.get(shown))?.hide?.();
    shown = section;
    for (const other of sections) other.classList.toggle('current', other === section);
    for (const link of links) {
      if (link.hash.slice(1) === section.id) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    const title = section.querySelector('h1').textContent;
    document.title = section.id === 'start' ? 'deeploss: losses you can touch' : `${title} · deeploss`;
    turn(section.id);
    fold(true);
  }
  if (target && target !== section) target.scrollIntoView();
  else if (isNew) scrollTo(0, 0);
  if (isNew && wanted && root.classList.contains('moved')) section.querySelector('h1').focus({ preventScroll: true });
  root.classList.add('moved');
  if (!alive.has(section)) alive.set(section, mount(section));
  else if (isNew) (await alive.get(section))?.show?.();
}

async function mount(section) {
  const page = await ready;
  const own = OWN[section.id];
  if (!own) return build(section, page);
  const module = await own();
  return module.mount(section, page);
}

/** The chapters before and after. */
function turn(id) {
  const place = order.indexOf(id);
  for (const [name, other, arrow] of [['previous', order[place - 1], '←'], ['next', order[place + 1], '→']]) {
    const link = document.getElementById(name);
    link.hidden = !other;
    if (!other) continue;
    const title = other === 'start' ? 'Losses you can touch' : links.find(({ hash }) => hash === `#${other}`).textContent;
    link.href = `#${other}`;
    link.textContent = name === 'next' ? `${title} ${arrow}` : `${arrow} ${title}`;
  }
}

// On a narrow window the chapters fold away.
const menu = document.getElementById('menu');
function fold(isFolded) {
  menu.setAttribute('aria-expanded', String(!isFolded));
  root.classList.toggle('unfolded', !isFolded);
}
menu.addEventListener('click', () => fold(menu.getAttribute('aria-expanded') === 'true'));
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && root.classList.contains('unfolded')) {
    fold(true);
    menu.focus();
  }
});

// Colours: those of the system, or the visitor's choice.
const THEMES = { auto: ['Theme: auto', 'as the system has them'], light: ['Theme: light', 'light'], dark: ['Theme: dark', 'dark'] };
const button = document.getElementById('theme');
function stored() {
  try { return localStorage.getItem('theme') ?? 'auto'; } catch { return 'auto'; }
}
function paint(theme) {
  const [name, words] = THEMES[theme] ?? THEMES.auto;
  button.textContent = name;
  button.setAttribute('aria-label', `Colours: ${words}`);
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
}
button.addEventListener('click', () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(root.dataset.theme ?? 'auto') + 1) % names.length];
  try { localStorage.setItem('theme', next); } catch { /* Without storage the choice holds until the page is left. */ }
  paint(next);
});
paint(stored());

addEventListener('hashchange', show);
ready.catch((error) => {
  const place = document.getElementById('device');
  place.classList.add('cpu');
  place.textContent = `The program did not load: ${error.message ?? error}`;
});
await show();
