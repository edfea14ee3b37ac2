// What only the server knows of a tile: fetched by its number, the last ones kept until the tile is judged again.

import { askJson } from './live.js';
import { plain } from './words.js';

const KEPT = 60;

export class Facts {
  constructor(store) {
    this.known = new Map();
    store.on('tiles', () => { for (const i of store.changed) this.known.delete(store.column.n[i]); });
    store.on('limit run', () => this.known.clear());
  }

  /** The facts of a tile, as a promise. */
  of(n) {
    const known = this.known.get(n);
    if (known) return known;
    const asked = askJson(`api/tile/${n}`);
    this.known.set(n, asked);
    asked.catch(() => this.known.delete(n));
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    return asked;
  }
}

const SAID_FIRST = 2;

/** What `mhfd explain` says of a tile: [what is said first, the other sentences]. */
export function sentences({ lines, explanation }) {
  const all = lines ?? [explanation ?? ''];
  return [plain(all.slice(0, SAID_FIRST).join(' ')), all.slice(SAID_FIRST).map(plain)];
}

/** Where to cut a tile of [rows, cols] about its worst block, so that the cut lies within: {x, y, w, h}. */
export function cutAt(facts, width, height) {
  const [rows, cols] = facts.shape, map = facts.blur_map_px, [r, c] = facts.worst_block ?? [0, 0];
  const down = map?.length || 1, wide = map?.[0]?.length || 1, known = Boolean(facts.worst_block && map);
  const x = known ? (c + 0.5) * cols / wide : cols / 2, y = known ? (r + 0.5) * rows / down : rows / 2;
  return within(x, y, width, height, rows, cols);
}

/** A cut of at most `width` by `height` about (x, y), within a tile. */
export function within(x, y, width, height, rows, cols) {
  const w = Math.min(Math.round(width), cols, 1024), h = Math.min(Math.round(height), rows, 1024);
  const place = (middle, size, all) => Math.round(Math.min(Math.max(middle - size / 2, 0), all - size));
  return { x: place(x, w, cols), y: place(y, h, rows), w, h };
}
