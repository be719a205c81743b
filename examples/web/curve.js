// The loss of one row as one of its numbers moves, and its slope below: SVG, drawn anew at every answer.

import { h, numeric, round, s, text } from './dom.js';

const WIDTH = 360;
const LEFT = 38;
const RIGHT = 8;
const LOSS = { top: 10, height: 150 };
const SLOPE = { top: 184, height: 64 };
const HEIGHT = 272;

let count = 0;

/** The largest size that is worth a scale: a pole at an end does not flatten the rest, and the curve leaves the drawing there. */
function height(values) {
  const sizes = values.filter(Number.isFinite).map(Math.abs).sort((a, b) => a - b);
  const [most, usual] = [sizes[sizes.length - 1] ?? 0, sizes[Math.floor(sizes.length * 0.92)] ?? 0];
  return Math.max(1e-3, most > 4 * usual && usual > 0 ? usual : most);
}

/** A drawing with `show(curve, words)`. The last point of a curve is where the number stands. */
export function curve() {
  const title = s('title');
  const drawing = s('g', { 'aria-hidden': 'true' });
  const svg = s('svg', { class: 'curve', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' }, title, drawing);
  const caption = h('p', { class: 'caption' });
  const element = h('div', { class: 'plot' }, caption, svg);
  const most = { loss: 0, slope: 0 };
  const id = `curve-${++count}`;

  function show({ x, loss, slope }, words) {
    const [xs, losses, slopes] = [x, loss, slope].map((list) => list.map(numeric));
    const last = xs.length - 1;
    const grid = xs.slice(0, last);
    const [from, to] = [grid[0], grid[grid.length - 1]];
    // Scales grow and do not shrink: a curve that falls is seen to fall.
    most.loss = Math.max(most.loss, round(height(losses)));
    most.slope = Math.max(most.slope, round(height(slopes)));
    const low = losses.some((value) => value < 0) ? -most.loss : 0;
    const px = (value) => LEFT + ((value - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
    const scale = (panel, bottom, top) => (value) => panel.top + panel.height * (1 - (value - bottom) / (top - bottom));
    const py = scale(LOSS, low, most.loss);
    const qy = scale(SLOPE, -most.slope, most.slope);

    const [at, here, tilt] = [xs[last], losses[last], slopes[last]];
    const isHere = [at, here, tilt].every(Number.isFinite) && at >= from && at <= to && Math.abs(here) <= most.loss && Math.abs(tilt) <= most.slope;
    const tangent = () => {
      // As long on the screen whatever its tilt.
      const [dx, dy] = [px(at + 1) - px(at), py(here + tilt) - py(here)];
      const stretch = 46 / Math.hypot(dx, dy);
      return s('line', {
        class: 'tangent', x1: px(at) - stretch * dx, y1: py(here) - stretch * dy, x2: px(at) + stretch * dx, y2: py(here) + stretch * dy,
      });
    };
    drawing.replaceChildren(
      ...[LOSS, SLOPE].map((panel) => s('clipPath', { id: `${id}-${panel.top}` },
        s('rect', { x: LEFT, y: panel.top - 2, width: WIDTH - LEFT - RIGHT, height: panel.height + 4 }))),
      ...axes(px, from, to),
      ...ticks(py, low < 0 ? [low, 0, most.loss] : [0, most.loss / 2, most.loss]),
      ...ticks(qy, [-most.slope, 0, most.slope]),
      s('text', { class: 'name', x: WIDTH - RIGHT - 5, y: LOSS.top + 12 }, 'loss'),
      s('text', { class: 'name', x: WIDTH - RIGHT - 5, y: SLOPE.top + 12 }, 'slope'),
      s('path', { class: 'loss', 'clip-path': `url(#${id}-${LOSS.top})`, d: path(grid, losses, px, py) }),
      s('path', { class: 'slope', 'clip-path': `url(#${id}-${SLOPE.top})`, d: path(grid, slopes, px, qy) }),
      ...(isHere ? [
        s('line', { class: 'plumb', x1: px(at), x2: px(at), y1: LOSS.top, y2: SLOPE.top + SLOPE.height }),
        tangent(),
        s('circle', { class: 'loss', cx: px(at), cy: py(here), r: 5 }),
        s('circle', { class: 'slope', cx: px(at), cy: qy(tilt), r: 4 }),
      ] : []),
    );
    caption.textContent = `${words.whose} as ${words.moved} moves`;
    title.textContent = `${words.whose} as ${words.moved} moves from ${text(from)} to ${text(to)}. `
      + (isHere ? `At ${text(at)} the loss is ${text(here)} and its slope ${text(tilt)}.` : 'It stands outside of the drawing.');
  }

  return { element, show };
}

function axes(px, from, to) {
  const panels = [LOSS, SLOPE].map((panel) => s('rect', {
    class: 'panel', x: LEFT, y: panel.top, width: WIDTH - LEFT - RIGHT, height: panel.height,
  }));
  const middle = (from + to) / 2;
  const labels = [from, middle, to].map((value, k) => s('text', {
    class: 'tick', x: px(value), y: HEIGHT - 8, 'text-anchor': ['start', 'middle', 'end'][k],
  }, text(value, 3)));
  return [...panels, ...labels];
}

function ticks(py, values) {
  return values.flatMap((value) => [
    s('line', { class: value === 0 ? 'zero' : 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: py(value), y2: py(value) }),
    s('text', { class: 'tick', x: LEFT - 5, y: py(value) + 3.5, 'text-anchor': 'end' }, text(value, 3)),
  ]);
}

/** A line that breaks where a value is not finite. */
function path(xs, values, px, py) {
  let pen = 'M';
  return xs.map((x, k) => {
    if (!Number.isFinite(values[k])) {
      pen = 'M';
      return '';
    }
    const point = `${pen}${px(x).toFixed(1)} ${py(values[k]).toFixed(1)}`;
    pen = 'L';
    return point;
  }).join('');
}
