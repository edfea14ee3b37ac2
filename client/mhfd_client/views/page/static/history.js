// A position through the run: its blur in every section, on the axis of the chart.

import { GUTTER, drawSections } from './axis.js';
import { $, say, sized } from './dom.js';
import { drawMark, drawStem, palette } from './marks.js';
import { CODE, clamp, isBad, plural } from './words.js';

const TOP_PX = 3, HEAD = 8, FOOT = 24;

/** Draws the history of the position of tile `i`. */
export function drawHistory(store, i) {
  const { section, position, verdict, blur, flag } = store.column, { first, sections } = store.map, spot = store.spot(position[i]);
  const marked = [], pieces = [[]];                             // the line breaks where a tile is flagged, or none is there
  let judged = 0;
  for (let s = 0; s < sections; s++) {
    const other = store.at(first + s, position[i]), code = other < 0 ? CODE.later : verdict[other];
    if (code === CODE.in_focus) pieces[pieces.length - 1].push([s, blur[other]]);
    else pieces.push([]);
    if (![CODE.later, CODE.todo, CODE.no_content].includes(code)) {
      judged++;
      if (code !== CODE.in_focus || other === i) marked.push([s, other]);
    }
  }
  const bad = marked.filter(([, other]) => isBad(verdict[other])).length;
  say($('#history-note'), `${spot}: ${bad} flagged in ${plural(judged, 'section')}`);
  const canvas = $('.history canvas'), fitted = sized(canvas);
  canvas.setAttribute('aria-label', `Blur at ${spot} in every section: ${bad} flagged`);
  if (!fitted) return;
  const [context, width, height] = fitted, colours = palette(), top = Math.max(TOP_PX, 1.5 * (store.maxBlur ?? 0));
  const X = (s) => GUTTER + (width - GUTTER) * (s + 0.5) / sections;
  const Y = (value) => (value === value ? HEAD + (height - HEAD - FOOT) * (1 - clamp(value / top, 0, 1)) : HEAD); // unknown: at the top
  const stroke = (colour, wide, dash, points) => {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.setLineDash(dash);
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
    context.setLineDash([]);
  };
  context.font = `12px ${colours.sans}`;
  context.fillStyle = colours.soft;
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  context.fillText('0', GUTTER - 10, Y(0) - 4);
  if (store.maxBlur !== null) {
    const y = Math.round(Y(store.maxBlur)) + 0.5;
    stroke(colours.ink, 1, [4, 4], [[GUTTER, y], [width, y]]);
    context.fillText(store.maxBlur.toFixed(2), GUTTER - 10, y);
  }
  for (const piece of pieces) stroke(colours.soft, 1.2, [], piece.map(([s, value]) => [X(s), Y(value)]));
  const here = X(section[i] - first);
  stroke(colours.ink, 2, [], [[here, Math.min(Y(blur[i]) + 9, height - FOOT - 3)], [here, height - FOOT + 4]]);
  for (const [s, other] of marked) {
    const code = verdict[other];
    if (isBad(code)) drawStem(context, X(s), Y(blur[other]), Y(flag[other]), colours.marks[code]);
    drawMark(context, code, X(s), Y(blur[other]), 12, colours.marks[code], code === CODE.cannot_tell ? colours.edge : null);
  }
  context.fillStyle = colours.soft;
  drawSections(context, { first, last: first + sections - 1, wide: (width - GUTTER) / sections, X: (each) => X(each - first), y: height - 8, right: width });
}
