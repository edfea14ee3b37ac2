// The map's picture: a pixel a tile, painted once, and then only where tiles changed.

import { GUTTER } from './axis.js';
import { step } from './marks.js';
import { CODE, clamp, isBad } from './words.js';

/** Room for the section numbers below the map, px. */
export const FOOT = 24;
const BLUR_TOP_PX = 2;
const WIDEST = 8192;                                            // of a canvas, on every browser; more sections share a column

/** How a picture of `sections` by `positions` lies in a frame: origin, and pixels a section and a position. */
export function fit(frame, grid, { x, y, zoom }) {
  const width = frame.width - GUTTER, height = frame.height - FOOT, fx = width / grid.sections, fy = height / grid.positions;
  const kx = fx * zoom, ky = Math.max(fy, Math.min(kx, fy * zoom));
  return { kx, ky, x0: clamp(x, 0, grid.sections - width / kx), y0: clamp(y, 0, grid.positions - height / ky), width, height };
}

export class MapPicture {
  constructor(store) {
    Object.assign(this, { store, canvas: document.createElement('canvas'), image: null, grid: null, special: [], top: 1 });
  }

  /** Paints all again, with these colours, by "verdict", "blur", "score" or "defocus". */
  paint(colours, by) {
    const grid = this.store.map, each = Math.ceil(grid.sections / WIDEST), wide = Math.ceil(grid.sections / each);
    const { canvas } = this, context = canvas.getContext('2d');
    if (!this.image || this.image.width !== wide || this.image.height !== grid.positions) {
      canvas.width = wide;
      canvas.height = grid.positions;
      this.image = context.createImageData(wide, grid.positions);
    } else this.image.data.fill(0);
    Object.assign(this, { grid, each, colours, by, top: this.topOf(by) });
    for (const i of grid.cell) if (i >= 0) this.put(i);
    context.putImageData(this.image, 0, 0);
    this.findSpecial();
  }

  /** Paints some tiles again; false if all are to be. */
  repaint(tiles) {
    const { store, grid, image, each } = this;
    if (!grid || grid !== store.map) return false;
    let low = Infinity, high = -Infinity;
    for (const i of tiles) {
      const s = store.column.section[i] - grid.first;
      if (s < 0 || s >= grid.sections || store.column.position[i] >= grid.positions) continue;
      this.put(i);
      low = Math.min(low, Math.floor(s / each));
      high = Math.max(high, Math.floor(s / each));
    }
    if (high >= low) this.canvas.getContext('2d').putImageData(image, 0, 0, low, 0, high - low + 1, image.height);
    this.findSpecial();
    return true;
  }

  put(i) {
    const { store, grid, image, each } = this, s = store.column.section[i] - grid.first, p = store.column.position[i];
    const to = (p * image.width + Math.floor(s / each)) * 4, here = grid.cell[s * grid.positions + p], rgb = here >= 0 ? this.fill(here) : null;
    if (!rgb) { if (each === 1) image.data[to + 3] = 0; return; }
    image.data[to] = rgb[0];
    image.data[to + 1] = rgb[1];
    image.data[to + 2] = rgb[2];
    image.data[to + 3] = 255;
  }

  /** The colour of a tile; null for a gap. */
  fill(i) {
    const { column } = this.store, code = column.verdict[i], { cells, ramp } = this.colours;
    if (code === CODE.later || code === CODE.missing) return null;
    if (code !== CODE.in_focus || this.by === 'verdict') return cells[code];
    const share = column[this.by][i] / this.top;                // a high score is a sharp tile
    return share === share ? ramp[step(this.by === 'score' ? 1 - share : share)] : cells[code];
  }

  /** The value that has the end of the ramp. */
  topOf(by) { return by === 'score' || by === 'defocus' ? usualTop(this.store.column[by], this.store.size) : BLUR_TOP_PX; }

  /** The tiles that get a mark at any zoom. */
  findSpecial() {
    const { verdict } = this.store.column;
    this.special = [];
    for (const i of this.grid.cell) {
      if (i >= 0 && (isBad(verdict[i]) || verdict[i] === CODE.cannot_tell || verdict[i] === CODE.missing)) this.special.push(i);
    }
  }
}

/** A round number that few values exceed. */
function usualTop(values, size) {
  const some = [];
  for (let i = 0, skip = Math.max(1, Math.floor(size / 2000)); i < size; i += skip) if (values[i] === values[i]) some.push(values[i]);
  some.sort((a, b) => a - b);
  return some.length ? Number((some[Math.floor(0.95 * (some.length - 1))] || 1).toPrecision(2)) : 1;
}
