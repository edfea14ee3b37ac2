// The axis that chart, map and history share: sections from left to right, with the same room for labels.

import { clamp } from './words.js';

/** Room for the labels at the left, px. */
export const GUTTER = 56;

/** Section numbers to write under an axis from `first` to `last`, `wide` pixels a section. */
function ticks(first, last, wide, room = 84) {
  let step = 1;
  for (let k = 0; step * wide < room; k++) step = [1, 2, 5][k % 3] * 10 ** Math.floor(k / 3);
  const found = [];
  for (let s = Math.ceil(first / step) * step; s <= last; s += step) found.push(s);
  return found;
}

/** Writes the numbers of the sections `first` to `last` at height `y`; `X` gives a section's place, `right` the axis's end. */
export function drawSections(context, { first, last, wide, X, y, right }) {
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  context.fillText('section', GUTTER - 10, y);
  for (const section of ticks(first, last, wide)) {
    const x = X(section);
    if (x < GUTTER || x > right) continue;
    context.textAlign = x > right - 16 ? 'right' : x < GUTTER + 12 ? 'left' : 'center';
    context.fillText(section, clamp(x, GUTTER, right), y);
  }
}
