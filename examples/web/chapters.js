// Chapters: their figures are built when they are first shown, and their programs follow the figure touched last.

import { copyButton, h } from './dom.js';
import { figure } from './figure.js';
import { programs } from './programs.js';

/** Builds what is alive in a chapter. Returns what to do when it is shown again. */
export function build(section, page) {
  for (const code of section.querySelectorAll('pre.code')) {
    const box = h('div', { class: 'listing' });
    code.replaceWith(box);
    box.append(code, copyButton(() => code.textContent));
  }
  const place = section.querySelector('.programs');
  const shown = place ? programs(place) : null;
  const figures = [...section.querySelectorAll('.figure')].map((element, k) => {
    let answers = 0;
    return figure(element, page, (call, answer) => {
      element.dispatchEvent(new CustomEvent('answered', { bubbles: true, detail: { call, answer } }));
      const text = JSON.parse(page.wasm.programs(JSON.stringify(call)));
      const line = element.querySelector('.line code');
      line.textContent = text.line;
      // The first figure stands there until another is touched.
      if (k === 0 || answers > 0) shown?.show(text);
      answers += 1;
    });
  });
  return { figures };
}
