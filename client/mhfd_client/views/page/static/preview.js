// What another threshold would change. It only compares `flag_px`, which the judge made, so it agrees with Apply.

import { CODE } from './words.js';

/**
 * Tiles that would change sides if the threshold moved from `was` to `line`.
 *
 * A tile is flagged if its `flag` is above the threshold. Gives {more, fewer, of, indices}: how many would be flagged,
 * how many cleared, how many tiles there are, and which change (more or fewer, never both).
 */
export function preview(column, size, was, line) {
  const { flag, verdict } = column, indices = [];
  let of = 0;
  const [low, high] = [was, line].map(Math.fround).sort((a, b) => a - b); // the column has 32 bits, so has the line
  for (let i = 0; i < size; i++) {
    if (verdict[i] === CODE.later || verdict[i] === CODE.missing) continue;
    of++;
    if (flag[i] > low && !(flag[i] > high)) indices.push(i);
  }
  const more = line < was ? indices.length : 0;
  return { more, fewer: indices.length - more, of, indices };
}

/** The `most` tiles whose blur is nearest to the line, by their blur. */
export function nearest(column, size, line, most = 30) {
  const { flag, verdict } = column, found = [];
  let widest = Infinity;
  const distance = (i) => Math.abs(flag[i] - line);
  for (let i = 0; i < size; i++) {
    if (verdict[i] === CODE.later || !(distance(i) < widest)) continue; // also leaves out what no threshold changes (NaN)
    found.push(i);
    if (found.length === 4 * most) {
      found.sort((a, b) => distance(a) - distance(b));
      found.length = most;
      widest = distance(found[most - 1]);
    }
  }
  return found.sort((a, b) => distance(a) - distance(b)).slice(0, most).sort((a, b) => flag[a] - flag[b]);
}
