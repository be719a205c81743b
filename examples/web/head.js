// The head: 131 072 classes to a row. Rust computes and times; this asks, and draws.

import { h, s, text } from './dom.js';
import { slider } from './slider.js';

/** Rounds of a measurement, of which the median counts. */
const ROUNDS = 7;
/** Milliseconds that a round should take, so that the clock's steps do not count. */
const ROUND = { gpu: 50, cpu: 60 };
const MOST = 400;
/** Classes shown by name. */
const SHOWN = 8;
const ROWS = [1, 8, 64];

export function mount(section, page) {
  const figure = section.querySelector('.head-figure');
  figure.querySelector('.waiting')?.remove();
  const isGpu = page.device.gpu;
  const rows = isGpu ? ROWS : ROWS.slice(0, 2);
  let head = null;
  let about = null;
  let ranked = null;
  let temperature = 1;
  let looks = 0;
  // What is to be done when what is in flight is over: the newest of each.
  const wanted = { rows: rows[0], temperature: 1, measure: true };
  let isBusy = false;
  let isShown = true;

  const view = draw(figure, {
    rows,
    isGpu,
    onrows(count) {
      wanted.rows = count;
      wanted.temperature = temperature;
      wanted.measure = true;
      work();
    },
    ontemperature(value) {
      wanted.temperature = value;
      work();
    },
    onmeasure() {
      wanted.measure = true;
      work();
    },
  });

  async function work() {
    if (isBusy) return;
    isBusy = true;
    try {
      while (isShown && (wanted.rows !== null || wanted.temperature !== null || wanted.measure)) {
        if (wanted.rows !== null) await open(take('rows'));
        else if (wanted.temperature !== null) await look(take('temperature'));
        else await measure();
        await new Promise((done) => {
          requestAnimationFrame(done);
        });
      }
    } catch (error) {
      Object.assign(wanted, { rows: null, temperature: null, measure: false });
      view.refused(error.message ?? String(error));
    }
    isBusy = false;
  }

  function take(name) {
    const value = wanted[name];
    wanted[name] = null;
    return value;
  }

  async function open(count) {
    view.busy(`Preparing ${count === 1 ? 'a row' : `${count} rows`} …`);
    head?.free();
    head = null;
    head = await page.wasm.Head.open(page.device, count);
    about = { ...JSON.parse(head.about()), rows: count };
    ranked = head.ranked();
  }

  async function look(value) {
    if (!head) return;
    // Another temperature may need another kernel, which a slow device compiles for a while.
    const waits = setTimeout(() => view.busy('Preparing …'), 400);
    const seen = JSON.parse(await head.look(value));
    clearTimeout(waits);
    view.busy('');
    temperature = value;
    section.dataset.looks = ++looks;
    section.dataset.loss = seen.loss;
    view.look(seen, value, ranked, about);
  }

  /** Seconds that one call takes: by the device's clock, or from submit to done, less what an empty submit takes. */
  async function measure() {
    wanted.measure = false;
    if (!head) return;
    view.busy('Measuring …');
    const timed = async (copies, times) => {
      const begun = performance.now();
      const seconds = await head.run(copies, times);
      return seconds ?? (performance.now() - begun) / 1000;
    };
    const target = (isGpu ? ROUND.gpu : ROUND.cpu) / 1000;
    const idle = about.hasClock || !isGpu ? 0 : await median(5, () => timed(false, 0));
    const times = {};
    for (const copies of [false, true]) {
      await timed(copies, 1);
      // So often that a round takes long enough, found by doubling.
      times[copies] = 1;
      for (;;) {
        const took = (await timed(copies, times[copies])) - idle;
        if (took >= target || times[copies] >= MOST) break;
        times[copies] = Math.min(MOST, Math.max(times[copies] + 1, Math.ceil(Math.min(8, target / Math.max(took, 1e-4)) * times[copies])));
        if (wanted.rows !== null) return;
      }
    }
    const rounds = { false: [], true: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const copies of [false, true]) {
        rounds[copies].push(((await timed(copies, times[copies])) - idle) / times[copies]);
        await new Promise((done) => {
          requestAnimationFrame(done);
        });
      }
      if (!isShown || wanted.rows !== null) {
        wanted.measure = true;
        return;
      }
    }
    const result = { fused: middle(rounds.false), copy: middle(rounds.true) };
    Object.assign(section.dataset, result);
    view.measured(result, about, times);
  }

  work();
  return {
    hide() {
      isShown = false;
    },
    show() {
      isShown = true;
      work();
    },
  };
}

async function median(count, of) {
  const values = [];
  for (let k = 0; k < count; k++) values.push(await of());
  return middle(values);
}

function middle(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function draw(figure, { rows, isGpu, onrows, ontemperature, onmeasure }) {
  const refusal = h('p', { class: 'refused', role: 'alert', hidden: true });
  const status = h('p', { class: 'head-status', role: 'status' });
  const shownTemperature = h('output', {}, '1');
  // Octaves: a step halves or doubles by the same amount everywhere.
  const knob = slider({
    label: 'temperature, in powers of two',
    value: 0,
    from: -3,
    to: 3,
    origin: 0,
    step: 0.25,
    onmove(power) {
      shownTemperature.textContent = text(2 ** power, 3);
      ontemperature(2 ** power);
    },
  });
  const radios = rows.map((count, k) =>
    h(
      'label',
      { class: 'choice' },
      h('input', { type: 'radio', name: 'head-rows', value: count, checked: k === 0, onchange: () => onrows(count) }),
      h('span', {}, String(count)),
    ),
  );
  const facts = Object.fromEntries(['loss', 'p', 'entropy'].map((name) => [name, h('strong', {}, '–')]));
  const notes = Object.fromEntries(['loss', 'p', 'entropy'].map((name) => [name, h('span', {})]));
  const fact = (name, title) => h('div', { class: 'fact' }, h('span', { class: 'caption' }, title), facts[name], notes[name]);
  const list = h('ol', { class: 'likely' });
  const picture = s('svg', { class: 'distribution', viewBox: '0 0 420 230', role: 'img' });
  const time = h('div', { class: 'bars' });
  const memory = h('div', { class: 'bars' });
  const how = h('p', { class: 'caption' });
  const again = h('button', { type: 'button', class: 'measure', onclick: onmeasure }, 'Measure again');
  figure.append(
    refusal,
    h(
      'div',
      { class: 'head-controls' },
      h(
        'div',
        { class: 'control number', 'data-option': 'temperature' },
        h('span', { class: 'name', 'aria-hidden': 'true' }, 'temperature T'),
        knob.element,
        shownTemperature,
      ),
      h('fieldset', { class: 'scenario' }, h('legend', {}, 'rows of 131 072 classes'), h('div', { class: 'choices' }, radios)),
    ),
    h(
      'div',
      { class: 'facts' },
      fact('loss', 'Loss, mean over the rows'),
      fact('p', 'Chance of the true class, first row'),
      fact('entropy', 'Entropy, first row'),
    ),
    h(
      'div',
      { class: 'charts' },
      h('div', { class: 'chart' }, h('p', { class: 'title' }, 'The likeliest classes of the first row'), list),
      h('div', { class: 'chart' }, h('p', { class: 'title' }, 'All 131 072, by rank'), picture),
    ),
    h(
      'div',
      { class: 'charts cost' },
      h('div', { class: 'chart' }, h('p', { class: 'title' }, 'Time'), time, how),
      h(
        'div',
        { class: 'chart' },
        h('p', { class: 'title' }, 'Memory'),
        memory,
        h(
          'p',
          { class: 'caption' },
          'Scratch is what the fused call needs besides the two tensors. The last bar is arithmetic, not a measurement: a ',
          'softmax and its logarithm kept for the backward pass, as a chain of single operations does.',
        ),
      ),
    ),
    h('div', { class: 'race-state' }, again, status),
  );
  if (!isGpu) {
    figure.append(
      h(
        'p',
        { class: 'caption' },
        'There is no WebGPU here: the CPU reference computes, on one thread, and the copy is of an array in memory. The ',
        'values are the same; the times say nothing of a GPU. 64 rows would make the page wait, and are left out.',
      ),
    );
  }

  return {
    busy(what) {
      refusal.hidden = true;
      status.textContent = what;
    },

    look(seen, temperature, ranked, about) {
      refusal.hidden = true;
      const chance = (rank) => Math.exp(ranked[rank] / temperature - seen.lse);
      facts.loss.textContent = text(seen.loss, 4);
      notes.loss.textContent = `all classes alike would cost log ${whole(about.classes)} = ${text(Math.log(about.classes), 4)}`;
      facts.p.textContent = share(chance(about.trueRank));
      notes.p.textContent = `rank ${about.trueRank + 1} of all; −log p = ${text(-Math.log(chance(about.trueRank)), 4)}`;
      facts.entropy.textContent = `${text(seen.entropy, 4)} nats`;
      notes.entropy.textContent = `as undecided as among ${text(Math.exp(seen.entropy), 3)} classes alike`;
      const likely = Array.from({ length: SHOWN }, (_, rank) => chance(rank));
      list.replaceChildren(
        ...likely.map((p, rank) => {
          const fill = h('span', { class: 'fill' });
          fill.style.inlineSize = `${Math.max(0.3, 100 * p)}%`;
          const isTrue = rank === about.trueRank;
          return h(
            'li',
            { class: isTrue ? 'true' : null },
            h('span', { class: 'name' }, isTrue ? `rank ${rank + 1}, true` : `rank ${rank + 1}`),
            h('span', { class: 'track' }, fill),
            h('span', { class: 'number' }, share(p)),
          );
        }),
      );
      sketch(picture, chance, about, temperature);
    },

    measured({ fused, copy }, about, times) {
      const bytes = 2 * about.bytes;
      const most = Math.max(fused, copy);
      const rate = (seconds) => `${text(bytes / seconds / 1e9, 3)} GB/s`;
      time.replaceChildren(
        line('loss and gradient', fused / most, `${clock(fused)}, ${rate(fused)}`, 'fused'),
        line('copy of the same bytes', copy / most, `${clock(copy)}, ${rate(copy)}`, 'copied'),
        h('p', { class: 'ratio' }, `${text(fused / copy, 3)} copies`),
      );
      const chain = 4 * about.bytes;
      memory.replaceChildren(
        line('logits', about.bytes / chain, size(about.bytes), 'copied'),
        line('gradient', about.bytes / chain, size(about.bytes), 'fused'),
        ...(about.scratch === null ? [] : [line('scratch', about.scratch / chain, size(about.scratch), 'fused')]),
        line('operation by operation', 1, size(chain), 'chain'),
      );
      how.textContent =
        `${clockOf(about.hasClock, isGpu)}: ` +
        `median of ${ROUNDS} rounds of ${times.false} and ${times.true} calls; bytes read and written counted, ${size(bytes)} a call.`;
      status.textContent = `Measured with ${about.rows === 1 ? 'one row' : `${about.rows} rows`}.`;
    },

    refused(message) {
      refusal.textContent = message;
      refusal.hidden = false;
      status.textContent = '';
    },
  };
}

function line(name, part, words, kind) {
  const fill = h('span', { class: `fill ${kind}` });
  fill.style.inlineSize = `${Math.max(0.4, 100 * part)}%`;
  return h(
    'div',
    { class: 'bar-line' },
    h('span', { class: 'name' }, name),
    h('span', { class: 'track' }, fill),
    h('span', { class: 'number' }, words),
  );
}

function share(p) {
  return p >= 1e-6 ? `${text(100 * p, 3)} %` : text(p, 2);
}

/** A whole number, its thousands apart. */
function whole(number) {
  return number.toLocaleString('en').replaceAll(',', '\u202f');
}

function clockOf(hasClock, isGpu) {
  if (hasClock) return 'By the device’s own timestamps';
  return isGpu ? 'From submit to done by the browser’s clock, less an empty submit' : 'By the browser’s clock';
}

/** A time with its unit. */
function clock(seconds) {
  if (seconds < 1e-3) return `${text(1e6 * seconds, 3)} µs`;
  return `${text(1e3 * seconds, 3)} ms`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1 << 20 ? `${text(bytes / 1024, 3)} KiB` : `${text(bytes / (1 << 20), 3)} MiB`;
}

/** Probability against rank, both logarithmic. */
function sketch(picture, chance, about, temperature) {
  const [width, height, left, bottom] = [420, 230, 46, 34];
  const ranks = Math.log10(about.classes);
  const lowest = -9;
  const x = (rank) => left + ((width - left - 10) * Math.log10(rank + 1)) / ranks;
  const y = (p) => 8 + ((height - bottom - 8) * Math.max(lowest, Math.log10(Math.max(p, 1e-300)))) / lowest;
  const points = [];
  for (let step = 0; step <= 160; step++) {
    const rank = Math.min(about.classes - 1, Math.round(10 ** ((ranks * step) / 160)) - 1);
    points.push(`${x(rank).toFixed(1)} ${y(chance(rank)).toFixed(1)}`);
  }
  const top = chance(0);
  picture.setAttribute(
    'aria-label',
    `Probability by rank at temperature ${text(temperature, 3)}: the first has ${share(top)}, ` +
      `the hundredth ${share(chance(99))}, the ten thousandth ${share(chance(9999))}`,
  );
  picture.replaceChildren(
    ...[0, -3, -6, -9].flatMap((power) => [
      s('path', { class: 'grid', d: `M${left} ${y(10 ** power)}H${width - 10}` }),
      s(
        'text',
        { class: 'tick', x: left - 6, y: y(10 ** power) + 3.5, 'text-anchor': 'end' },
        power === 0 ? '1' : ['10', s('tspan', { dy: -4, 'font-size': 8 }, `−${-power}`)],
      ),
    ]),
    ...[1, 10, 100, 1000, 10000, 100000].map((rank) =>
      s('text', { class: 'tick', x: x(rank - 1), y: height - 18, 'text-anchor': 'middle' }, whole(rank)),
    ),
    s('text', { class: 'tick', x: width - 10, y: height - 3, 'text-anchor': 'end' }, 'rank'),
    s('path', { class: 'area', d: `M${left} ${height - bottom}L${points.join('L')}L${x(about.classes - 1)} ${height - bottom}Z` }),
    s('path', { class: 'curve-line', d: `M${points.join('L')}` }),
    s('circle', { class: 'true', cx: x(about.trueRank), cy: y(chance(about.trueRank)), r: 4.5 }),
  );
}
