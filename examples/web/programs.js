// The call of a chapter's figures as programs, which follow the controls.

import { copyButton, h } from './dom.js';

const TONGUES = [
  ['arrays', 'Rust, arrays'],
  ['buffers', 'Rust, GPU buffers'],
  ['pytorch', 'PyTorch'],
];

let count = 0;

/** Tabs in `element`; `show(programs)` sets what they hold. */
export function programs(element) {
  const id = `programs-${++count}`;
  let current = 0;
  let texts = {};
  const tabs = TONGUES.map(([, title], k) => h('button', {
    type: 'button', role: 'tab', id: `${id}-tab-${k}`, 'aria-controls': `${id}-panel`, onclick: () => choose(k),
  }, title));
  const code = h('code');
  const panel = h('pre', { class: 'code', role: 'tabpanel', id: `${id}-panel`, tabindex: 0 }, code);
  const list = h('div', { role: 'tablist', 'aria-label': 'The call of the figure, as a program' }, tabs);
  list.addEventListener('keydown', (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    choose((current + move + TONGUES.length) % TONGUES.length);
    tabs[current].focus();
  });
  function choose(k) {
    current = k;
    tabs.forEach((tab, other) => {
      tab.setAttribute('aria-selected', String(other === k));
      tab.tabIndex = other === k ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', `${id}-tab-${k}`);
    code.textContent = texts[TONGUES[k][0]] ?? '';
  }
  element.replaceChildren(
    h('p', { class: 'caption' }, 'The figure that you touched last, as a program'),
    h('div', { class: 'tabs' }, list, copyButton(() => code.textContent)), panel,
  );
  choose(0);
  return {
    show(next) {
      texts = next;
      choose(current);
    },
  };
}
