// Elements, numbers as text, and clipboards: what every module of the page needs.

/** An element with attributes, listeners (`onclick` ..) and children; null children are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A number as the Rust side and the figures write it: words stand for what JSON has no number for. */
export function numeric(value) {
  if (value === 'nan') return NaN;
  if (value === 'inf') return Infinity;
  if (value === '-inf') return -Infinity;
  return Number(value);
}

/** A number for people: so many significant digits, a true minus. */
export function text(value, digits = 4) {
  const number = numeric(value);
  if (Number.isNaN(number)) return 'NaN';
  if (!Number.isFinite(number)) return number < 0 ? '−∞' : '∞';
  if (number === 0) return '0';
  const size = Math.abs(number);
  const plain = size >= 1e-4 && size < 1e6;
  const written = plain ? String(Number(number.toPrecision(digits))) : number.toExponential(Math.min(digits - 1, 2));
  return written.replace('-', '−').replace('e−', 'e−').replace('e+', 'e');
}

/** The least round number that is not below `value`. */
export function round(value, steps = [1, 1.5, 2, 3, 4, 6, 8, 10]) {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return steps.map((step) => step * power).find((step) => step >= value * (1 - 1e-9)) ?? 10 * power;
}

/** A button that copies what `of` gives. */
export function copyButton(of, label = 'Copy') {
  const button = h('button', { type: 'button', class: 'copy', 'aria-label': `${label} to the clipboard` }, label);
  let timer = 0;
  button.addEventListener('click', async () => {
    let said = 'Copied';
    try {
      await navigator.clipboard.writeText(of());
    } catch {
      said = 'Select and copy by hand: the browser does not allow it';
    }
    button.textContent = said;
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = label; }, 1600);
  });
  return button;
}
