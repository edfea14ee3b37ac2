// A position through the run: its blur in every section, on the axis of the chart.

import { GUTTER, ticks } from './chart.js';
import { $, say, sized } from './dom.js';
import { drawMark, palette } from './marks.js';
import { CODE, clamp, isBad, plural } from './words.js';

const TOP_PX = 3, HEAD = 8, FOOT = 24;

/** Draws the history of the position of tile `i`. */
export function drawHistory(store, i) {
  const { section, position, verdict } = store.column, { first, sections } = store.map, spot = store.spot(position[i]);
  const odd = [], line = [];
  for (let s = 0; s < sections; s++) {
    const other = store.at(first + s, position[i]);
    if (other < 0 || verdict[other] === CODE.no_content || verdict[other] === CODE.todo) continue;
    if (verdict[other] === CODE.in_focus) line.push([s, store.compared(other) || 0]);
    else odd.push([s, other]);
  }
  const bad = odd.filter(([, other]) => isBad(verdict[other])).length;
  say($('#history-note'), `${spot}: ${bad} flagged in ${plural(line.length + odd.length, 'section')}`);
  const canvas = $('.history canvas'), fitted = sized(canvas);
  canvas.setAttribute('aria-label', `Blur at ${spot} in every section: ${bad} flagged`);
  if (!fitted) return;
  const [context, width, height] = fitted, colours = palette(), top = Math.max(TOP_PX, 1.5 * (store.maxBlur ?? 0));
  const X = (s) => GUTTER + (width - GUTTER) * (s + 0.5) / sections, Y = (value) => HEAD + (height - HEAD - FOOT) * (1 - clamp(value / top, 0, 1));
  const stroke = (colour, wide, dash, points) => {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.setLineDash(dash);
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
  };
  context.font = `12px ${colours.sans}`;
  context.fillStyle = colours.soft;
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  context.fillText('0', GUTTER - 10, Y(0));
  if (store.maxBlur !== null) {
    const y = Math.round(Y(store.maxBlur)) + 0.5;
    stroke(colours.ink, 1, [4, 4], [[GUTTER, y], [width, y]]);
    context.fillText(store.maxBlur.toFixed(2), GUTTER - 10, y);
  }
  stroke(colours.soft, 1.2, [], line.map(([s, value]) => [X(s), Y(value)]));
  const here = X(section[i] - first), value = store.compared(i) || 0;
  stroke(colours.ink, 2, [], [[here, Y(value) + 9], [here, height - FOOT + 4]]);
  for (const [s, other] of odd) {
    drawMark(context, verdict[other], X(s), Y(store.compared(other) || 0), 12, colours.marks[verdict[other]], verdict[other] === CODE.cannot_tell ? colours.edge : null);
  }
  if (verdict[i] === CODE.in_focus) drawMark(context, CODE.in_focus, here, Y(value), 12, colours.marks[CODE.in_focus]);
  context.fillStyle = colours.soft;
  for (const each of ticks(first, first + sections - 1, (width - GUTTER) / sections)) {
    const x = X(each - first);
    context.textAlign = x > width - 16 ? 'right' : x < GUTTER + 12 ? 'left' : 'center';
    context.fillText(each, clamp(x, GUTTER, width), height - 8);
  }
}
