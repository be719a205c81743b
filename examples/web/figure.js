// A call of a loss, alive: bars for what goes in, bars for what comes out, a curve, its options, and the line of Rust.

import { controls } from './controls.js';
import { curve } from './curve.js';
import { copyButton, h, numeric, round, text } from './dom.js';
import { slider } from './slider.js';

/** Points of a curve. */
const POINTS = 81;

/**
 * Fills `element`, whose `data-call` is the worked example, and returns what the page asks of it. `page.compute(call)` answers with the
 * numbers of a call; `onchange(call)` hears of every call that was answered.
 */
export function figure(element, page, onchange) {
  const given = JSON.parse(element.dataset.call);
  const info = page.losses.find(({ name }) => name === given.loss);
  const caption = element.querySelector('figcaption');
  const body = h('div', { class: 'body' });
  element.replaceChildren(caption, body);

  let state;
  function begin() {
    state = new State(structuredClone(given), info);
    const view = new View(state, info, given, element.id, begin);
    body.replaceChildren(...view.parts);
    state.onmove = () => page.compute(element, () => state.call(), (call, answer) => {
      view.show(answer);
      if (!answer.error) onchange(call, answer);
    });
    state.onmove();
  }
  begin();
  return { refresh: () => state.onmove(), call: () => state.call() };
}

/** What the bars hold: the tensors of a call as rows, its options, and which number was moved last. */
class State {
  constructor(call, info) {
    this.info = info;
    this.given = call;
    this.options = { ...call.options };
    if (call.reduction && call.reduction !== 'mean') this.options.reduction = call.reduction;
    this.isFlat = !Array.isArray(call.input[0]);
    const rows = (tensor) => (tensor === undefined ? null : this.isFlat ? [tensor] : tensor);
    this.input = rows(call.input);
    this.input2 = rows(call.input2);
    this.weight = call.sample_weight ? [call.sample_weight].flat() : null;
    this.kind = this.targetKind();
    // A row that is ignored has no class; which index says so is an option.
    this.target = this.kind === 'class' ? [call.target].flat().map((label) => (label < 0 ? null : label)) : rows(call.target);
    this.moved = { tensor: 'input', row: 0, column: this.kind === 'class' ? this.target[0] ?? 0 : 0 };
    this.domain = domain(info.input, this.input.flat(), this.input2?.flat());
    this.onmove = () => {};
  }

  get columns() {
    return this.input[0].length;
  }

  /** How the target is shown: as the table says, or as what the figure gives in its place. */
  targetKind() {
    const { target } = this.info;
    const depth = (value) => (Array.isArray(value) ? 1 + depth(value[0]) : 0);
    if (target === 'class' && depth(this.given.target) === depth(this.given.input)) return 'distribution';
    const isSign = (value) => value === 1 || value === -1;
    if (target === 'sign' && ![this.given.target].flat(2).every(isSign)) return 'real';
    return target;
  }

  /** The call in the format of the figures, with the curve that is drawn beside it. */
  call() {
    const shaped = (rows) => (this.isFlat ? rows[0] : rows);
    const ignored = this.options.ignore_index ?? -100;
    const target = this.kind === 'class' ? this.target.map((label) => label ?? ignored) : this.target;
    const call = { loss: this.info.name, input: shaped(this.input), target: this.kind === 'class' && !this.isFlat ? target : shaped(target) };
    if (this.input2) call.input2 = shaped(this.input2);
    if (this.weight) call.sample_weight = this.weight;
    call.options = this.options;
    const { tensor, row, column } = this.moved;
    const [from, to] = this.domain;
    const grid = Array.from({ length: POINTS }, (_, k) => from + ((to - from) * k) / (POINTS - 1));
    const here = this[tensor][row][column];
    call.sweep = { tensor, element: row * this.columns + column, values: [...grid, here] };
    return structuredClone(call);
  }

  move(tensor, row, column, value) {
    this[tensor][row][column] = value;
    if (tensor === 'target') this.share(row, column);
    this.touch(row, column, tensor === 'input2' ? tensor : 'input');
  }

  /** The curve is of what was touched last. */
  touch(row, column, tensor = 'input') {
    this.moved = { tensor, row, column };
    this.onmove();
  }

  /** A distribution stays one: the others keep their proportions. */
  share(row, column) {
    if (this.kind !== 'distribution' || this.options.log_target) return;
    const values = this.target[row];
    const rest = 1 - values[column];
    const others = values.reduce((sum, value, k) => (k === column ? sum : sum + value), 0);
    this.target[row] = values.map((value, k) => {
      if (k === column) return value;
      return others > 0 ? (value * rest) / others : rest / (values.length - 1);
    });
  }
}

/** Where bars begin and end, for these numbers. */
function domain(kind, ...lists) {
  const values = lists.filter(Boolean).flat().map(numeric).filter(Number.isFinite);
  if (kind === 'probability') return [0, 1];
  const most = Math.max(0, ...values.map(Math.abs));
  if (kind === 'log-probability' && values.every((value) => value <= 0)) return [-Math.max(6, round(most)), 0];
  const end = Math.max(4, round(most * 1.2));
  return [-end, end];
}

/** The elements of a figure. */
class View {
  constructor(state, info, given, id, reset) {
    Object.assign(this, { state, info, given });
    this.most = 1e-3;
    this.lines = new Map();
    this.curve = curve();
    this.error = h('p', { class: 'refused', role: 'alert', hidden: true });
    this.value = h('output', { class: 'value' }, '…');
    this.said = h('p', { class: 'hidden', 'aria-live': 'polite' });
    this.reading = h('p', { class: 'reading' });
    this.which = h('span', { class: 'which' });
    this.line = h('code');
    this.lineText = '';
    this.expected = given.expect === undefined ? null : h('p', { class: 'expected' });
    const first = given.move ?? [];
    const options = controls({
      options: info.options.filter(({ kind }) => kind !== 'class' || state.kind === 'class'), chosen: state.options, classes: state.columns, first,
      onchange: (name) => {
        if (name === 'log_target') this.inLogs();
        state.onmove();
      },
    });
    this.parts = [
      h('div', { class: 'panes' },
        h('div', { class: 'given' }, this.legend(), state.input.map((_, row) => this.row(row)), options),
        h('div', { class: 'result' },
          h('div', { class: 'total' }, this.which, this.value, this.reading, this.expected), this.error, this.said, this.curve.element)),
      h('div', { class: 'line' }, h('span', { class: 'tongue' }, 'Rust'), this.line, copyButton(() => this.lineText),
        h('button', { type: 'button', class: 'reset', onclick: reset }, 'Reset to the worked example')),
    ];
    this.id = id;
  }

  /** Column heads. */
  legend() {
    const { info, state } = this;
    const names = ['', '', { logit: 'logit', 'log-probability': 'log p', probability: 'probability', score: 'score' }[info.input]];
    const head = (name, column) => h('span', { class: `head ${column}` }, name);
    return h('div', { class: `legend ${this.shape()}`, 'aria-hidden': 'true' },
      head(names[0], 'pick'), head(names[1], 'name'), head(names[2], 'bar'), head('', 'number'),
      this.hasChance() ? head('probability', 'chance') : null, head('gradient', 'push'), info.rows ? null : head('loss', 'cost'));
  }

  hasChance() {
    return !['probability', 'score'].includes(this.info.input);
  }

  shape() {
    const pick = { sign: 'with-sign', class: '', labels: '' }[this.state.kind] ?? 'without-pick';
    return [this.hasChance() ? 'with-chance' : '', this.info.rows ? '' : 'with-cost', pick].filter(Boolean).join(' ');
  }

  /** What a column is called. */
  column(k) {
    const { info, state } = this;
    const kind = state.isFlat && !info.rows ? 'item' : info.rows || info.input === 'log-probability' ? 'class' : 'label';
    return `${kind} ${k}`;
  }

  name(row, k) {
    return this.state.input.length > 1 ? `${this.column(k)} of row ${row}` : this.column(k);
  }

  row(row) {
    const { state } = this;
    const lines = state.input[row].map((_, column) => this.lineOf(row, column));
    const cost = h('span', { class: 'cost' });
    this.lines.set(`cost ${row}`, cost);
    const weight = state.weight ? this.rowWeight(row) : null;
    const isOne = state.input.length === 1;
    const head = isOne && !weight ? null : h('div', { class: 'row-head' }, isOne ? null : h('span', {}, `Row ${row}`), weight, this.info.rows ? cost : null);
    return h('div', { class: 'row', role: 'group', 'aria-label': `Row ${row}` }, head, lines, this.ignore(row));
  }

  rowWeight(row) {
    const { state } = this;
    const shown = h('output', { 'aria-hidden': 'true' }, text(state.weight[row], 3));
    const bar = slider({
      label: `weight of row ${row}`, value: state.weight[row], from: 0, to: Math.max(3, ...state.weight), step: 0.1,
      onmove: (value) => {
        state.weight[row] = value;
        shown.textContent = text(value, 3);
        state.onmove();
      },
    });
    return h('span', { class: 'row-weight' }, 'weight', bar.element, shown);
  }

  /** A row with a class as target can be ignored. */
  ignore(row) {
    const { state } = this;
    if (state.kind !== 'class' || !this.info.options.some(({ kind }) => kind === 'class')) return null;
    return h('label', { class: `line-of ignore ${this.shape()}` }, h('span', { class: 'pick' }, this.radio(row, null)), h('span', {}, 'ignored'));
  }

  radio(row, value) {
    const { state } = this;
    const label = value === null ? `row ${row} is ignored` : `${this.column(value)} is true in row ${row}`;
    const radio = h('input', {
      type: 'radio', name: `${state.info.name}-${this.key ??= ++View.count}-${row}`, checked: state.target[row] === value, 'aria-label': label,
    });
    radio.addEventListener('change', () => {
      state.target[row] = value;
      this.mark();
      state.touch(row, value ?? state.moved.column);
    });
    return radio;
  }

  /** One number of the input and everything that belongs to it. */
  lineOf(row, column) {
    const { state, info } = this;
    const [from, to] = state.domain;
    const line = {};
    const bar = (tensor, label) => {
      const shown = h('output', { class: 'number', 'aria-hidden': 'true' }, text(state[tensor][row][column], 3));
      const made = slider({
        label, value: state[tensor][row][column], from, to, origin: Math.min(to, Math.max(from, 0)), step: step(from, to),
        onmove: (value) => {
          shown.textContent = text(value, 3);
          state.move(tensor, row, column, value);
        },
      });
      return [made, shown];
    };
    const what = { logit: 'logit', 'log-probability': 'log-probability', probability: 'probability', score: 'score' }[info.input];
    const [input, number] = bar('input', `${what} of ${this.name(row, column)}`);
    line.chance = this.hasChance() ? meter('chance') : null;
    line.push = meter('push');
    line.cost = info.rows ? null : h('span', { class: 'cost' });
    line.target = this.target(row, column);
    line.element = h('div', { class: `line-of ${this.shape()}` },
      line.target.isSmall ? h('span', { class: 'pick' }, line.target.element) : h('span', { class: 'pick' }),
      h('span', { class: 'name' }, this.column(column)), h('span', { class: 'bar' }, input.element), number,
      line.chance?.element, line.push.element, line.cost);
    const elements = [line.element];
    const below = (label, inner, shown, push) => elements.push(h('div', { class: `line-of below ${this.shape()}` },
      h('span', { class: 'pick' }), h('span', { class: 'name' }, label), h('span', { class: 'bar' }, inner), shown,
      this.hasChance() ? h('span', {}) : null, push ?? h('span', {}), line.cost ? h('span', {}) : null));
    if (state.input2) {
      const [second, shown] = bar('input2', `second ${what} of ${this.name(row, column)}`);
      line.push2 = meter('push');
      below('second', second.element, shown, line.push2.element);
    }
    if (!line.target.isSmall) below('target', line.target.element, line.target.shown, null);
    this.lines.set(`${row} ${column}`, line);
    return elements;
  }

  /** The control of one number of the target. */
  target(row, column) {
    const { state } = this;
    if (state.kind === 'class') return { isSmall: true, element: this.radio(row, column), refresh: () => {} };
    if (state.kind === 'labels') return this.listed(row, column);
    if (state.kind === 'sign') return this.sign(row, column);
    const shown = h('output', { class: 'number', 'aria-hidden': 'true' });
    let made;
    const build = () => {
      const kind = state.options.log_target ? 'log-probability' : state.kind;
      const values = state.target.flat().map(numeric).filter(Number.isFinite);
      const [from, to] = kind === 'logit' || kind === 'real' ? state.domain
        : kind === 'log-probability' ? [-8, 0] : [0, Math.max(1, ...values)];
      made = slider({
        label: `target of ${this.name(row, column)}`, value: state.target[row][column], from, to, origin: Math.min(to, Math.max(from, 0)),
        step: step(from, to),
        onmove: (value) => {
          state.move('target', row, column, value);
          this.mark();
        },
      });
      made.element.classList.add('soft');
      return made.element;
    };
    const element = h('span', {}, build());
    const refresh = () => {
      made.set(state.target[row][column]);
      shown.textContent = text(state.target[row][column], 3);
    };
    refresh();
    return { isSmall: false, element, shown, refresh, rebuild: () => element.replaceChildren(build()) };
  }

  /** A label of a list: there or not. */
  listed(row, column) {
    const { state } = this;
    const labels = () => {
      const list = state.target[row];
      const end = list.indexOf(-1);
      return end < 0 ? list : list.slice(0, end);
    };
    const box = h('input', { type: 'checkbox', checked: labels().includes(column), 'aria-label': `${this.name(row, column)} is true` });
    box.addEventListener('change', () => {
      const kept = labels().filter((label) => label !== column);
      const list = box.checked ? [...kept, column] : kept;
      state.target[row] = [...list, ...Array(state.columns - list.length).fill(-1)];
      this.mark();
      state.touch(row, column);
    });
    return { isSmall: true, element: box, refresh: () => {} };
  }

  /** A label of 1 or -1. */
  sign(row, column) {
    const { state } = this;
    const button = h('button', { type: 'button', class: 'sign', 'aria-label': `target of ${this.name(row, column)}` });
    const refresh = () => {
      const value = state.target[row][column];
      button.textContent = value > 0 ? '+1' : '−1';
      button.setAttribute('aria-pressed', String(value > 0));
    };
    button.addEventListener('click', () => {
      state.target[row][column] *= -1;
      this.mark();
      state.touch(row, column);
    });
    refresh();
    return { isSmall: true, element: button, refresh };
  }

  /** Brings the targets up to date: who is true. */
  mark() {
    const { state } = this;
    state.input.forEach((values, row) => values.forEach((_, column) => {
      const line = this.lines.get(`${row} ${column}`);
      line.target.refresh();
      const isTrue = state.kind === 'class' ? state.target[row] === column
        : state.kind === 'labels' ? line.target.element.checked : false;
      line.element.classList.toggle('true', isTrue);
    }));
  }

  /** Target probabilities become their logarithms, or back. */
  inLogs() {
    const { state } = this;
    const convert = state.options.log_target ? (value) => Math.max(-8, Math.log(value)) : Math.exp;
    state.target = state.target.map((row) => row.map((value) => convert(numeric(value))));
    for (const [key, line] of this.lines) if (!key.startsWith('cost')) line.target.rebuild?.();
    this.mark();
  }

  /** An answer, or what was wrong. */
  show(answer) {
    const { state, info } = this;
    this.error.hidden = !answer.error;
    this.error.textContent = answer.error ?? '';
    this.mark();
    if (answer.error) {
      this.value.textContent = '–';
      return;
    }
    const losses = answer.loss.map(numeric);
    const reduction = state.options.reduction ?? 'mean';
    this.which.textContent = losses.length > 1 ? 'loss of each' : reduction === 'none' ? 'loss' : `loss (${reduction === 'batchmean' ? 'batch mean' : reduction})`;
    this.value.textContent = losses.length > 1 ? losses.slice(0, 4).map((value) => text(value, 4)).join('  ') + (losses.length > 4 ? ' …' : '') : text(losses[0], 7);
    this.value.classList.toggle('many', losses.length > 1);
    this.value.dataset.loss = JSON.stringify(answer.loss);
    this.speak(`loss ${losses.slice(0, 4).map((value) => text(value, 4)).join(', ')}`);
    this.read(losses, answer.p);
    this.compare(losses);

    const columns = state.columns;
    const push = answer.gradInput.map(numeric);
    const push2 = answer.gradInput2?.map(numeric);
    this.most = Math.max(this.most, round(Math.max(...[...push, ...(push2 ?? [])].filter(Number.isFinite).map(Math.abs), 0)));
    const items = answer.items.map(numeric);
    state.input.forEach((values, row) => {
      if (info.rows) this.lines.get(`cost ${row}`).textContent = `loss ${text(items[row], 4)}`;
      values.forEach((_, column) => {
        const line = this.lines.get(`${row} ${column}`);
        const k = row * columns + column;
        if (line.chance) line.chance.show(numeric(answer.p[k]), 1);
        line.push.show(push[k], this.most);
        line.push2?.show(push2[k], this.most);
        if (line.cost) line.cost.textContent = text(items[k], 3);
      });
    });
    const { row, column, tensor } = state.moved;
    const name = { logit: 'logit', 'log-probability': 'log-probability', probability: 'probability', score: 'score' }[info.input];
    this.curve.show(answer.curve, {
      whose: info.rows ? `Loss of row ${row}` : `Loss of ${this.name(row, column)}`,
      moved: info.rows ? `the ${name} of ${this.column(column)}` : `its ${tensor === 'input2' ? 'second ' : ''}${name}`,
    });
  }

  /** What the value says of probability, where it is nothing but the likelihood of the true classes. */
  read(losses, p) {
    const { state, info } = this;
    const likelihood = Math.exp(-losses[0]);
    const isPlain = info.likelihood && losses.length === 1 && state.kind === 'class' && !state.target.includes(null);
    const logs = isPlain ? state.target.map((label, row) => Math.log(numeric(p[row * state.columns + label]))) : [];
    const typical = Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
    this.reading.hidden = !isPlain || !(Math.abs(typical - likelihood) < 1e-4);
    this.reading.textContent = `exp(−loss) = ${text(likelihood, 3)}: the true class's probability${state.input.length > 1 ? ', typically' : ''}`;
  }

  /** The worked example's value beside the computed one. */
  compare(losses) {
    if (!this.expected) return;
    const wanted = [this.given.expect].flat().map(numeric);
    const isSame = losses.length === wanted.length && losses.every((value, k) => Object.is(value, wanted[k])
      || Math.abs(value - wanted[k]) <= 2e-6 * Math.max(1, Math.abs(wanted[k])));
    this.expected.textContent = `worked example: ${wanted.map((value) => text(value, 10)).join(', ')}`;
    this.expected.classList.toggle('same', isSame);
  }

  /** To screen readers, once the hand rests. */
  speak(words) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { if (this.said.textContent !== words) this.said.textContent = words; }, 700);
  }
}
View.count = 0;

/** What an arrow key moves: a fortieth of the bar, as a round number. */
function step(from, to) {
  return round((to - from) / 80, [1, 2, 5, 10]);
}

/** A bar that only shows: from 0 to the right, or to both sides of the middle. */
function meter(kind) {
  const fill = h('span', { class: 'fill' });
  const shown = h('span', { class: 'number' });
  const element = h('span', { class: `meter ${kind}` }, h('span', { class: 'track' }, fill), shown);
  return {
    element,
    show(value, most) {
      const share = Number.isFinite(value) ? Math.min(1, Math.abs(value) / most) : 0;
      fill.style.inlineSize = `${share * (kind === 'push' ? 50 : 100)}%`;
      fill.style.insetInlineStart = kind === 'push' ? (value < 0 ? `${50 - share * 50}%` : '50%') : '0';
      element.classList.toggle('down', value < 0);
      shown.textContent = text(value, 3);
    },
  };
}
