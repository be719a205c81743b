// A loss' options as controls, as the crate's own table has them: names, kinds, defaults and ranges come from there.

import { h, numeric, text } from './dom.js';
import { slider } from './slider.js';

let count = 0;

/**
 * The controls of `options` for a call of `classes` columns. `chosen` is the call's `options`, which the controls change;
 * `onchange(name)` hears of it. The names of `first` come first, marked as what to try.
 */
export function controls({ options, chosen, classes, first, onchange }) {
  const make = { number, choice, class: ignored, flag, weights };
  const order = [...options].sort((a, b) => rank(a) - rank(b));
  function rank({ name }) {
    const place = first.indexOf(name);
    return place >= 0 ? place : first.length + (name === 'reduction' ? 1 : 0);
  }
  const made = order.map((option) => {
    const control = make[option.kind](option, chosen, classes, () => {
      for (const { refresh } of made) refresh();
      onchange(option.name);
    });
    control.dataset.option = option.name;
    control.classList.toggle('try', first.includes(option.name));
    const refresh = () => {
      const needs = option.needs;
      control.hidden = needs !== null && (chosen[needs.name] ?? null) !== needs.word;
    };
    refresh();
    return { control, refresh };
  });
  return h('fieldset', { class: 'controls' }, h('legend', {}, 'Options'), made.map(({ control }) => control));
}

/** A name of the API, as words. */
export function spoken(name) {
  return name.replaceAll('_', ' ');
}

/** Sets an option, or takes it back to its default. */
function choose(chosen, { name, default: usual }, value) {
  if (value === null || value === usual) delete chosen[name];
  else chosen[name] = value;
}

/** A slider and the number beside it; an option that has no default is off until its box is ticked. */
function number(option, chosen, _, onchange) {
  const { name, least, most, open, from, to } = option;
  const id = `control-${++count}`;
  const isOptional = option.default === null;
  const initial = numeric(chosen[name] ?? option.default ?? Math.min(to, Math.max(from, 1)));
  const step = (to - from) / 50;
  const typed = h('input', { type: 'number', id, value: initial, step: 'any', inputmode: 'decimal', min: open ? null : least, max: most });
  const bar = slider({
    label: spoken(name), value: initial, from: least === null ? Math.min(from, initial) : from, to: most === null ? Math.max(to, initial) : to,
    origin: Math.max(from, Math.min(0, to)), step, onmove: (value) => apply(value),
  });
  const box = isOptional ? h('input', { type: 'checkbox', 'aria-label': `use ${spoken(name)}`, checked: name in chosen }) : null;
  function apply(value) {
    if (typed !== document.activeElement) typed.value = value;
    bar.set(value);
    if (box) box.checked = true;
    choose(chosen, option, value);
    onchange();
  }
  typed.addEventListener('input', () => {
    const value = typed.valueAsNumber;
    const isAccepted = Number.isFinite(value) && (least === null || value > least || (value === least && !open)) && (most === null || value <= most);
    typed.setAttribute('aria-invalid', String(!isAccepted));
    if (isAccepted) apply(value);
  });
  box?.addEventListener('change', () => {
    if (box.checked) return apply(typed.valueAsNumber);
    choose(chosen, option, null);
    return onchange();
  });
  return h('div', { class: 'control number' }, h('span', { class: 'name' }, box, h('label', { for: id }, spoken(name))), bar.element, typed);
}

/** One of several values. */
function choice(option, chosen, _, onchange) {
  const now = chosen[option.name] ?? option.default;
  const values = option.values.map((value) => h('option', { value, selected: value === now }, spoken(String(value))));
  const select = h('select', {}, values);
  select.addEventListener('change', () => {
    choose(chosen, option, option.values[select.selectedIndex]);
    onchange();
  });
  return h('label', { class: 'control' }, h('span', { class: 'name' }, spoken(option.name)), select);
}

/** A class whose rows are ignored. */
function ignored(option, chosen, classes, onchange) {
  const values = [option.default ?? -100, ...Array(classes).keys()];
  const now = chosen[option.name] ?? option.default;
  const select = h('select', {}, values.map((value) => h('option', { selected: value === now }, value < 0 ? `${text(value)} (no class)` : `class ${value}`)));
  select.addEventListener('change', () => {
    choose(chosen, option, values[select.selectedIndex]);
    onchange();
  });
  return h('label', { class: 'control' }, h('span', { class: 'name' }, spoken(option.name)), select);
}

function flag(option, chosen, _, onchange) {
  const box = h('input', { type: 'checkbox', checked: chosen[option.name] ?? option.default ?? false });
  box.addEventListener('change', () => {
    choose(chosen, option, box.checked);
    onchange();
  });
  return h('label', { class: 'control' }, h('span', { class: 'name' }, spoken(option.name)), box);
}

/** A small bar for each column, once they are switched on. */
function weights(option, chosen, classes, onchange) {
  const given = chosen[option.name];
  const values = Array.from({ length: classes }, (_, k) => (Array.isArray(given) ? given[k] : given) ?? 1);
  const box = h('input', { type: 'checkbox', checked: given !== undefined });
  const most = Math.max(3, ...values);
  const bars = values.map((value, k) => {
    const shown = h('output', { 'aria-hidden': 'true' }, text(value, 3));
    const bar = slider({
      label: `${spoken(option.name)} ${k}`, value, from: 0, to: most, step: most / 30,
      onmove: (moved) => {
        values[k] = moved;
        shown.textContent = text(moved, 3);
        chosen[option.name] = [...values];
        onchange();
      },
    });
    return h('div', { class: 'weight' }, h('span', { 'aria-hidden': 'true' }, k), bar.element, shown);
  });
  const list = h('div', { class: 'weights', hidden: given === undefined }, bars);
  box.addEventListener('change', () => {
    list.hidden = !box.checked;
    if (box.checked) chosen[option.name] = [...values];
    else delete chosen[option.name];
    onchange();
  });
  return h('div', { class: 'control wide' }, h('label', {}, box, h('span', { class: 'name' }, spoken(option.name))), list);
}
