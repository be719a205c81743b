// A bar to drag: by pointer, touch, or keyboard (arrows, Page keys, Home, End).

import { h, numeric, text } from './dom.js';

/**
 * `label` names it to screen readers; `from`, `to` bound it; `origin` is where the bar begins; `step` is what an arrow key moves;
 * `onmove(value)` hears of every move.
 */
export function slider({ label, value, from, to, origin = from, step = (to - from) / 40, onmove }) {
  const fill = h('span', { class: 'fill' });
  const knob = h('span', { class: 'knob' });
  const zero = h('span', { class: 'origin' });
  const element = h('div', {
    class: 'slider', role: 'slider', tabindex: 0, 'aria-label': label, 'aria-valuemin': from, 'aria-valuemax': to,
  }, h('span', { class: 'track' }), zero, fill, knob);
  const share = (number) => 100 * Math.min(1, Math.max(0, (number - from) / (to - from)));
  zero.style.insetInlineStart = `${share(origin)}%`;

  let current = value;
  const show = () => {
    const number = numeric(current);
    const at = Number.isNaN(number) ? share(origin) : share(number);
    const start = share(origin);
    fill.style.insetInlineStart = `${Math.min(at, start)}%`;
    fill.style.inlineSize = `${Math.abs(at - start)}%`;
    knob.style.insetInlineStart = `${at}%`;
    element.classList.toggle('below', number < origin);
    element.classList.toggle('beyond', !(number >= from && number <= to));
    element.setAttribute('aria-valuenow', Number.isFinite(number) ? number : number < 0 ? from : to);
    element.setAttribute('aria-valuetext', text(current));
  };
  const move = (number) => {
    const fine = step / 10;
    // Whole multiples of a tenth of a step, without the digits that binary fractions bring along.
    const next = Number((Math.round(Math.min(to, Math.max(from, number)) / fine) * fine).toFixed(6));
    if (next === current) return;
    current = next;
    show();
    onmove(current);
  };
  const follow = (event) => {
    const box = element.getBoundingClientRect();
    move(from + ((event.clientX - box.left) / box.width) * (to - from));
  };
  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true });
    element.classList.add('held');
    follow(event);
    event.preventDefault();
  });
  element.addEventListener('pointermove', (event) => {
    if (element.hasPointerCapture(event.pointerId)) follow(event);
  });
  const release = () => element.classList.remove('held');
  element.addEventListener('pointerup', release);
  element.addEventListener('pointercancel', release);
  element.addEventListener('keydown', (event) => {
    const number = Number.isFinite(numeric(current)) ? numeric(current) : numeric(current) < 0 ? from : to;
    const big = event.shiftKey ? 5 : 1;
    const moves = {
      ArrowRight: number + big * step, ArrowUp: number + big * step, ArrowLeft: number - big * step, ArrowDown: number - big * step,
      PageUp: number + 5 * step, PageDown: number - 5 * step, Home: from, End: to,
    };
    if (event.key in moves && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      move(moves[event.key]);
    }
  });
  show();
  return {
    element,
    set(number) {
      current = number;
      show();
    },
  };
}
