// The race: six networks, six losses, one submit at a time. Rust computes; this asks for steps, and draws.

import { h, s, text } from './dom.js';
import { slider } from './slider.js';

/** Where the race ends; it may go on. */
const FINISH = 1000;
/** Steps from one judgement on the held-out half to the next. */
const EVERY = 20;
/** Milliseconds that one frame's steps may take: a GPU works beside the page, the CPU in its place. */
const BUDGET = { gpu: 40, cpu: 14 };
const DIGITS = 10;

const SCENARIOS = {
  clean: { name: 'Clean labels', lowest: 0.8 },
  tail: {
    name: 'Long tail',
    lowest: 0.5,
    strength: 30,
    from: 2,
    to: 60,
    step: 2,
    label: 'rarity of a 9',
    show: (value) => `1 : ${value}`,
  },
  wrong: {
    name: 'Wrong labels',
    lowest: 0.6,
    strength: 0.3,
    from: 0,
    to: 0.6,
    step: 0.05,
    label: 'wrong labels',
    show: percent,
  },
};

const OPTIONS = {
  rate: { label: 'learning rate', value: 0.05, from: 0.005, to: 0.2, step: 0.005 },
  smoothing: { label: 'smoothing', value: 0.1, from: 0, to: 0.5, step: 0.05, isLoss: true },
  gamma: { label: 'focal gamma', value: 2, from: 0, to: 5, step: 0.5, isLoss: true },
  temperature: { label: 'temperature of distillation', value: 2, from: 1, to: 8, step: 0.5, isLoss: true },
};
const MOMENTUM = 0.9;

/** Of each runner, its chapter and its line of Rust. */
const RUNNERS = [
  { chapter: 'cross_entropy', rust: () => 'CrossEntropy::new()' },
  { chapter: 'cross_entropy', rust: ({ smoothing }) => `CrossEntropy::new().label_smoothing(${float(smoothing)})` },
  { chapter: 'cross_entropy', rust: () => 'CrossEntropy::new().weight(weights)' },
  { chapter: 'softmax_focal', rust: ({ gamma }) => `SoftmaxFocal::new().gamma(${float(gamma)})` },
  { chapter: 'multi_margin', rust: () => 'MultiMargin::new()' },
  { chapter: 'kl_from_logits', rust: ({ temperature }) => `KlFromLogits::new().temperature(${float(temperature)})` },
];

function float(value) {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}

const frame = () =>
  new Promise((done) => {
    requestAnimationFrame(done);
  });

export function mount(section, page) {
  const figure = section.querySelector('.race');
  figure.querySelector('.waiting')?.remove();
  const strengths = { clean: 0, tail: SCENARIOS.tail.strength, wrong: SCENARIOS.wrong.strength };
  const choice = { scenario: 'clean', seed: 1 };
  for (const [name, { value }] of Object.entries(OPTIONS)) choice[name] = value;
  let perFrame = 2;

  // What is to be done when the step in flight is over.
  const wanted = { open: true, options: false, restart: false, step: false };
  let isRunning = false;
  let isBusy = false;
  let isRefused = false;
  let race = null;
  let about = null;
  let track = null;

  const view = draw(figure, page.device.gpu);

  /** Everything that asks Rust, one call after the other, a frame between them. */
  async function work() {
    if (isBusy) return;
    isBusy = true;
    if (isRefused) wanted.open = true;
    isRefused = false;
    try {
      while (wanted.open || wanted.options || wanted.restart || wanted.step || isRunning) {
        if (wanted.open) await open();
        else if (wanted.options) await change();
        else if (wanted.restart) restart();
        else await onwards();
        await frame();
      }
    } catch (error) {
      isRunning = false;
      isRefused = true;
      for (const name of Object.keys(wanted)) wanted[name] = false;
      view.refused(error.message ?? String(error));
    }
    isBusy = false;
    tell();
  }

  async function open() {
    tell();
    wanted.options = false;
    wanted.restart = false;
    const asked = JSON.stringify({ ...choice, strength: strengths[choice.scenario] });
    const opened = await page.wasm.Race.open(page.device, asked);
    // Something else may have been asked for meanwhile.
    wanted.open = asked !== JSON.stringify({ ...choice, strength: strengths[choice.scenario] });
    race?.free();
    race = opened;
    about = JSON.parse(race.about());
    track = start();
    track.taught = 0;
    view.fresh(about, choice);
    tell();
  }

  async function change() {
    wanted.options = false;
    await race.options(JSON.stringify(choice));
    view.say(choice);
  }

  function restart() {
    wanted.restart = false;
    race.restart();
    track = { ...start(), taught: track.taught, teacher: track.teacher };
    view.fresh(about, choice);
    tell();
  }

  /** What has been seen of a race. */
  function start() {
    return { step: 0, steps: 0, rate: perFrame, losses: about.runners.map(() => []), judged: [], figures: null, speed: 0 };
  }

  /** Some steps: of the teacher first, then of the race. */
  async function onwards() {
    if (track.taught < about.teacherSteps) {
      const begun = performance.now();
      const came = JSON.parse(await race.teach(Math.max(1, Math.round(2 * track.rate))));
      pace(performance.now() - begun);
      track.taught = came.taught;
      if (came.figures) track.teacher = came.figures[0];
      tell();
      return;
    }
    const single = wanted.step;
    wanted.step = false;
    const left = track.step < FINISH ? FINISH - track.step : Infinity;
    const steps = single ? 1 : Math.min(left, Math.max(1, Math.round(track.rate)));
    const next = track.step + steps;
    const judges = single || Math.floor(next / EVERY) > Math.floor(track.step / EVERY);
    const begun = performance.now();
    const came = JSON.parse(await race.advance(steps, choice.rate, MOMENTUM, judges));
    const took = performance.now() - begun;
    if (!single) pace(took);
    track.speed = track.speed === 0 ? (1000 * steps) / took : 0.9 * track.speed + (100 * steps) / took;
    for (const losses of came.losses) losses.forEach((loss, k) => track.losses[k].push(loss));
    const before = track.step;
    track.step = came.step;
    if (came.figures) {
      track.figures = came.figures;
      track.judged.push({ step: came.step, accuracy: came.figures.map(({ accuracy }) => accuracy) });
      view.show(track, about, choice.scenario);
    }
    if (before < FINISH && track.step >= FINISH) isRunning = false;
    tell();
  }

  /** As many steps a frame as asked for, or as this machine does in time. */
  function pace(took) {
    const budget = page.device.gpu ? BUDGET.gpu : BUDGET.cpu;
    track.rate = Math.min(perFrame, Math.max(1, track.rate * Math.min(1.3, Math.max(0.5, budget / took))));
  }

  /** Where it stands: for people, for screen readers at rest, for tests. */
  function tell() {
    const isMoving = isRunning || wanted.step;
    const state = isRefused
      ? 'refused'
      : race === null || wanted.open
        ? 'loading'
        : isMoving && track.taught < about.teacherSteps
          ? 'teaching'
          : isMoving
            ? 'running'
            : track.step >= FINISH
              ? 'finished'
              : track.step > 0 || track.taught > 0
                ? 'paused'
                : 'ready';
    section.dataset.state = state;
    section.dataset.steps = track?.step ?? 0;
    view.tell({ state, isRunning, track, about, perFrame });
  }

  const inputs = view.controls({
    choice,
    strengths,
    play() {
      // The last step before a pause is judged, so that figures and status are of one step.
      wanted.step = isRunning && !wanted.open && track?.taught === about.teacherSteps;
      isRunning = !isRunning;
      tell();
      work();
    },
    step() {
      isRunning = false;
      wanted.step = true;
      work();
    },
    reset() {
      wanted.restart = true;
      isRunning = false;
      work();
    },
    /** Other data, another race. */
    renew() {
      wanted.open = true;
      work();
    },
    option(name) {
      if (OPTIONS[name].isLoss) wanted.options = true;
      work();
    },
    pace(steps) {
      perFrame = steps;
      if (track) track.rate = Math.min(track.rate, steps);
      tell();
    },
    perFrame,
  });
  figure.prepend(...inputs);
  figure.prepend(figure.querySelector('figcaption'));
  work();

  return {
    hide() {
      isRunning = false;
      tell();
    },
  };
}

/** The parts of the figure, and what changes them. */
function draw(figure, isGpu) {
  const status = h('p', { class: 'race-status' });
  const said = h('p', { class: 'hidden', role: 'status' });
  const refusal = h('p', { class: 'refused', role: 'alert', hidden: true });
  const progress = h('progress', { max: 1, value: 0, 'aria-label': 'Steps of the teacher', hidden: true });
  const data = h('p', { class: 'caption race-data' });
  const loss = chart('Training loss', 'Mean loss of the batch, in the unit of each loss, smoothed over 20 steps; logarithmic');
  const accuracy = chart('Held-out images right', 'Share of 899 images that no network has learned from');
  const rows = h('tbody');
  const table = h(
    'div',
    { class: 'table', tabindex: 0, role: 'region', 'aria-label': 'Figures of the race' },
    h(
      'table',
      { class: 'race-table' },
      h('caption', { class: 'hidden' }, 'The race in figures'),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, 'Loss'),
          h('th', { scope: 'col', title: 'of the last batches, in the unit of the loss' }, 'Training loss'),
          h('th', { scope: 'col', title: 'share of the held-out images' }, 'Right'),
          h('th', { scope: 'col', title: 'the digit of which the fewest are right' }, 'Worst digit'),
          h(
            'th',
            { scope: 'col', title: 'expected calibration error: how far confidence is from accuracy, in percentage points' },
            'Calibration error',
          ),
          h('th', { scope: 'col', title: 'mean of −log p of the right digit' }, 'Cross-entropy, held out'),
        ),
      ),
      rows,
    ),
  );
  const cards = h('div', { class: 'cards' });
  figure.append(
    refusal,
    h('div', { class: 'race-state' }, status, progress),
    said,
    data,
    h('div', { class: 'charts' }, loss.element, accuracy.element),
    table,
    cards,
    h(
      'p',
      { class: 'caption' },
      'Left: of each digit, the share that is right. Right: calibration: of the images where a network is so sure, ',
      'so many are right; on the diagonal confidence is honest, above it too modest, below it too sure. ',
      "A dot's size is the number of images.",
    ),
  );
  if (!isGpu) {
    figure.append(
      h(
        'p',
        { class: 'caption race-cpu' },
        "There is no WebGPU here: networks and losses run on the CPU, the losses by the crate's ",
        "reference, in this page's own program. The first steps agree with a GPU's to four digits; ",
        'later ones as far as rounding lets them.',
      ),
    );
  }
  let last = null;
  let spotlight = null;

  function spot(k) {
    spotlight = spotlight === k ? null : k;
    figure.classList.toggle('spot', spotlight !== null);
    for (const element of figure.querySelectorAll('[data-runner]')) {
      element.classList.toggle('lit', Number(element.dataset.runner) === spotlight);
    }
    for (const button of rows.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(Number(button.closest('tr').dataset.runner) === spotlight));
    }
  }

  function row(runner, k) {
    const cells = Array.from({ length: 5 }, () => h('td', {}, '–'));
    const button = h(
      'button',
      { type: 'button', class: 'runner', 'aria-pressed': 'false', title: 'Show this one alone', onclick: () => spot(k) },
      s('svg', { class: 'swatch', viewBox: '0 0 22 8', 'aria-hidden': 'true' }, s('path', { class: `series k${k}`, d: 'M1 4H21' })),
      runner,
    );
    return h('tr', { 'data-runner': k }, h('th', { scope: 'row' }, button), cells);
  }

  function card(runner, k) {
    const digits = s('svg', { class: 'digits', viewBox: '0 0 150 104', role: 'img' });
    const calibration = s('svg', { class: 'calibration', viewBox: '0 0 116 104', role: 'img' });
    return h(
      'section',
      { class: 'card', 'data-runner': k, 'aria-label': runner },
      h('p', { class: 'title' }, h('a', { href: `#${RUNNERS[k].chapter}` }, runner)),
      h('code'),
      h('div', {}, digits, calibration),
    );
  }

  return {
    controls: (use) => controls(use),

    /** Before the first step. */
    fresh(about, choice) {
      const { scenario } = choice;
      refusal.hidden = true;
      const total = about.train.reduce((sum, count) => sum + count, 0);
      const images =
        { clean: 'all labels are right', wrong: `${about.wrong} of the labels are wrong` }[scenario] ??
        `of the digits 0 to 9 there are ${about.train.join(', ')}`;
      data.textContent = `Training half: ${total} images; ${images}. Held-out half: 899 images, untouched.`;
      rows.replaceChildren(...about.runners.map(row));
      cards.replaceChildren(...about.runners.map(card));
      about.runners.forEach((runner, k) => fill(cards.children[k], null, about, k));
      this.say(choice);
      loss.paint([], 0, { log: true, from: 0.001, to: 3, ticks: [0.001, 0.01, 0.1, 1] });
      accuracy.paint([], 0, shares(SCENARIOS[scenario].lowest));
      const lit = spotlight;
      spotlight = null;
      if (lit !== null) spot(lit);
    },

    /** The losses as programs have them. */
    say(choice) {
      RUNNERS.forEach(({ rust }, k) => {
        cards.children[k].querySelector('code').textContent = rust(choice);
      });
    },

    /** After a judgement. */
    show(track, about, scenario) {
      const end = Math.max(FINISH, track.step);
      loss.paint(track.losses.map(smoothed), end, { log: true, from: 0.001, to: 3, ticks: [0.001, 0.01, 0.1, 1] });
      const accuracies = about.runners.map((_, k) => track.judged.map(({ step, accuracy: all }) => [step, all[k]]));
      accuracy.paint(accuracies, end, shares(SCENARIOS[scenario].lowest));
      const best = { accuracy: Math.max, calibrationError: Math.min, surprise: Math.min };
      for (const [name, of] of Object.entries(best)) best[name] = of(...track.figures.map((figures) => figures[name]));
      track.figures.forEach((figures, k) => {
        const [training, right, worst, calibration, surprise] = rows.children[k].querySelectorAll('td');
        const digit = figures.ofClass.indexOf(Math.min(...figures.ofClass));
        training.textContent = text(smoothed(track.losses[k]).at(-1)[1], 3);
        right.textContent = `${(100 * figures.accuracy).toFixed(1)} %`;
        worst.textContent = `${digit}: ${percent(figures.ofClass[digit])}`;
        calibration.textContent = `${(100 * figures.calibrationError).toFixed(1)} points`;
        surprise.textContent = text(figures.surprise, 3);
        for (const [cell, name] of [
          [right, 'accuracy'],
          [calibration, 'calibrationError'],
          [surprise, 'surprise'],
        ]) {
          cell.classList.toggle('best', figures[name] === best[name]);
        }
        fill(cards.children[k], figures, about, k);
      });
      for (const element of figure.querySelectorAll('[data-runner]'))
        element.classList.toggle('lit', Number(element.dataset.runner) === spotlight);
    },

    tell({ state, isRunning, track, about, perFrame }) {
      figure.dataset.state = state;
      const button = figure.querySelector('.play');
      if (button) {
        button.textContent = isRunning ? 'Pause' : state === 'refused' ? 'Start' : track?.step > 0 || track?.taught > 0 ? 'Go on' : 'Start';
      }
      progress.hidden = state !== 'teaching';
      if (state === 'teaching') progress.value = track.taught / about.teacherSteps;
      const speed = track?.speed ? `, ${text(track.speed, 2)} steps a second` : '';
      const slow =
        track && track.step > 0 && track.rate < perFrame - 0.5
          ? ` (${Math.max(1, Math.round(track.rate))} a frame: more would make the page wait)`
          : '';
      status.textContent = {
        refused: 'Stopped. Start makes a new race.',
        loading: 'Preparing six losses for this device …',
        ready: 'At the start.',
        teaching: `First the teacher learns: step ${track?.taught} of ${about?.teacherSteps}`,
        running: `Step ${track?.step}${speed}${slow}.`,
        paused: track?.step > 0 ? `Paused at step ${track.step}.` : 'Paused.',
        finished: track?.step > FINISH ? `Step ${track?.step}.` : `The finish: step ${track?.step}. It may go on.`,
      }[state];
      if (track?.teacher && !['teaching', 'loading', 'refused'].includes(state))
        status.textContent += ` The teacher has ${(100 * track.teacher.accuracy).toFixed(1)} % right.`;
      const rests = state === 'paused' || state === 'finished';
      if (rests && last !== state && track.figures) {
        const standings = about.runners.map((runner, k) => `${runner} ${(100 * track.figures[k].accuracy).toFixed(1)} %`).join(', ');
        said.textContent = `Step ${track.step}. Right: ${standings}.`;
      }
      last = state;
    },

    refused(message) {
      refusal.textContent = message;
      refusal.hidden = false;
    },
  };
}

function shares(lowest) {
  const ticks = [0.5, 0.6, 0.7, 0.8, 0.9, 1].filter((tick) => tick >= lowest);
  return { log: false, from: lowest, to: 1, ticks, show: percent };
}

/** A curve's points: an average in which a loss of 20 steps ago still counts a third; no more points than can be seen. */
function smoothed(losses) {
  const every = Math.max(1, Math.floor(losses.length / 240));
  let mean = losses[0] ?? 0;
  const points = [];
  losses.forEach((loss, step) => {
    mean += (loss - mean) / Math.min(20, step + 1);
    if (step % every === 0 || step === losses.length - 1) points.push([step + 1, mean]);
  });
  return points;
}

/** A chart of one curve for each runner. */
function chart(title, description) {
  const [width, height, left, bottom] = [420, 220, 42, 24];
  const svg = s('svg', {
    class: 'curves',
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    'aria-label': `${title}. ${description}. The table below has the figures.`,
  });
  const element = h('div', { class: 'chart' }, h('p', { class: 'title' }, title), h('p', { class: 'caption' }, description), svg);
  return {
    element,
    paint(curves, end, { log, from, to, ticks, show = (value) => text(value) }) {
      const scale = log ? Math.log : (value) => value;
      const last = Math.max(FINISH, end);
      const x = (step) => left + ((width - left - 8) * step) / last;
      const y = (value) => {
        const share = (scale(Math.min(to, Math.max(from, value))) - scale(from)) / (scale(to) - scale(from));
        return 6 + (height - bottom - 6) * (1 - share);
      };
      const steps = [0, 0.25, 0.5, 0.75, 1].map((share) => share * last);
      svg.replaceChildren(
        ...ticks.flatMap((tick) => [
          s('path', { class: 'grid', d: `M${left} ${y(tick).toFixed(1)}H${width - 8}` }),
          s('text', { class: 'tick', x: left - 6, y: y(tick) + 3.5, 'text-anchor': 'end' }, show(tick)),
        ]),
        ...steps.map((step, k) =>
          s(
            'text',
            { class: 'tick', x: x(step), y: height - 6, 'text-anchor': k === 4 ? 'end' : k === 0 ? 'start' : 'middle' },
            k === 4 ? `step ${Math.round(step)}` : String(Math.round(step)),
          ),
        ),
        ...curves.map((points, k) =>
          s('path', {
            class: `series k${k}`,
            'data-runner': k,
            d: points.map(([step, value], at) => `${at ? 'L' : 'M'}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join(''),
          }),
        ),
      );
    },
  };
}

/** Accuracy of each digit, and calibration, of one network. */
function fill(card, figures, about, k) {
  const [digits, calibration] = card.querySelectorAll('svg');
  const top = 8;
  const base = 88;
  const of = figures?.ofClass ?? Array(DIGITS).fill(0);
  digits.setAttribute(
    'aria-label',
    figures ? `Right, of the digits 0 to 9: ${of.map(percent).join(', ')}` : 'Right, of each digit: nothing yet',
  );
  digits.replaceChildren(
    s('path', { class: 'grid', d: `M4 ${top}H146M4 ${(top + base) / 2}H146` }),
    ...of.flatMap((share, digit) => {
      const height = (base - top) * share;
      return [
        s(
          'rect',
          { class: `bar k${k}`, x: 5 + 14.2 * digit, y: base - height, width: 11, height },
          s('title', {}, `${digit}: ${percent(share)} right; ${about.train[digit]} to learn from`),
        ),
        s('text', { class: 'tick', x: 10.5 + 14.2 * digit, y: 99, 'text-anchor': 'middle' }, String(digit)),
      ];
    }),
    s('path', { class: 'axis', d: `M4 ${base}H146` }),
  );
  const [x, y] = [(share) => 22 + 86 * share, (share) => base - (base - top) * share];
  const bins = (figures?.bins ?? []).filter(([count]) => count > 0);
  const words = bins.map(([count, right, sure]) => `${count} images at ${percent(sure)}: ${percent(right)} right`).join('; ');
  calibration.setAttribute('aria-label', `Calibration. ${words || 'Nothing yet'}`);
  calibration.replaceChildren(
    s('path', { class: 'panel', d: `M${x(0)} ${y(0)}H${x(1)}V${y(1)}H${x(0)}Z` }),
    s('path', { class: 'ideal', d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }),
    s('path', {
      class: `series k${k}`,
      d: bins.map(([, right, sure], at) => `${at ? 'L' : 'M'}${x(sure).toFixed(1)} ${y(right).toFixed(1)}`).join(''),
    }),
    ...bins.map(([count, right, sure]) =>
      s('circle', {
        class: `dot k${k}`,
        cx: x(sure).toFixed(1),
        cy: y(right).toFixed(1),
        r: (1.2 + 4 * Math.sqrt(count / 899)).toFixed(1),
      }),
    ),
    s('text', { class: 'tick', x: 65, y: 101, 'text-anchor': 'middle' }, 'confidence'),
    s('text', { class: 'tick', x: 12, y: 48, 'text-anchor': 'middle', transform: 'rotate(-90 12 48)' }, 'right'),
  );
}

/** What the visitor may choose. `use` has the choice, and hears of every change. */
function controls(use) {
  const play = h('button', { type: 'button', class: 'play', onclick: use.play }, 'Start');
  const buttons = h(
    'div',
    { class: 'race-buttons', role: 'group', 'aria-label': 'The race' },
    play,
    h('button', { type: 'button', class: 'step', onclick: use.step }, 'One step'),
    h('button', { type: 'button', class: 'restart', onclick: use.reset }, 'Reset'),
  );

  const strength = h('div', { class: 'strength' });
  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(use.renew, 300);
  };
  const ask = () => {
    const { from, to, step, label, show } = SCENARIOS[use.choice.scenario];
    if (from === undefined) return strength.replaceChildren();
    return strength.replaceChildren(
      bar({
        label,
        value: use.strengths[use.choice.scenario],
        from,
        to,
        step,
        show,
        onmove: (value) => {
          use.strengths[use.choice.scenario] = value;
          soon();
        },
      }),
    );
  };
  const choose = (scenario) => {
    use.choice.scenario = scenario;
    ask();
    use.renew();
  };
  const radios = Object.entries(SCENARIOS).map(([scenario, { name }]) =>
    h(
      'label',
      { class: 'choice' },
      h('input', {
        type: 'radio',
        name: 'race-scenario',
        value: scenario,
        checked: scenario === use.choice.scenario,
        onchange: () => choose(scenario),
      }),
      h('span', {}, name),
    ),
  );
  const seed = h('input', { type: 'number', min: 1, max: 9999, step: 1, value: use.choice.seed, inputmode: 'numeric' });
  seed.addEventListener('change', () => {
    const isAccepted = Number.isInteger(seed.valueAsNumber) && seed.valueAsNumber >= 1;
    seed.setAttribute('aria-invalid', String(!isAccepted));
    if (!isAccepted) return;
    use.choice.seed = seed.valueAsNumber;
    use.renew();
  });

  const speed = h(
    'select',
    { class: 'speed' },
    [1, 2, 4, 8, 16, 32].map((steps) => h('option', { value: steps, selected: steps === use.perFrame }, String(steps))),
  );
  speed.addEventListener('change', () => use.pace(Number(speed.value)));
  const sliders = Object.entries(OPTIONS).map(([name, option]) =>
    bar({
      ...option,
      show: (value) => text(value, 2),
      name,
      onmove: (value) => {
        use.choice[name] = value;
        use.option(name);
      },
    }),
  );
  return [
    h('fieldset', { class: 'scenario' }, h('legend', {}, 'What the networks learn from'), h('div', { class: 'choices' }, radios), strength),
    buttons,
    h(
      'details',
      { class: 'race-options' },
      h('summary', {}, 'Speed, seed, and the losses’ options'),
      h(
        'fieldset',
        { class: 'controls', 'aria-label': 'Options of the race' },
        h('label', { class: 'control' }, h('span', { class: 'name' }, 'steps a frame'), speed),
        h('label', { class: 'control' }, h('span', { class: 'name' }, 'seed'), seed),
        sliders,
      ),
    ),
  ];
}

/** A slider with its number. */
function bar({ label, value, from, to, step, show, name = null, onmove }) {
  const shown = h('output', {}, show(value));
  const { element } = slider({
    label,
    value,
    from,
    to,
    step,
    onmove: (moved) => {
      shown.textContent = show(moved);
      onmove(moved);
    },
  });
  return h(
    'div',
    { class: 'control number', 'data-option': name },
    h('span', { class: 'name', 'aria-hidden': 'true' }, label),
    element,
    shown,
  );
}
