// What the page knows of the run: columns of tiles, and the few things beside them. Listeners hear what changed.

import { COLUMNS, NONE } from './columns.js';
import { CODE, KEYS, canDecide, isBad } from './words.js';

const EMPTY = -1;

/** The run as the page knows it. A tile is told by its index `i` into the columns; `n` is its number in the ledger. */
export class Store extends EventTarget {
  constructor() {
    super();
    this.size = 0;
    this.capacity = 0;
    this.column = Object.fromEntries(COLUMNS.map(([name, Kind]) => [name, new Kind(0)]));
    this.index = new Map();                                     // n -> i
    this.times = new Map();                                     // section -> when it was taken, Unix seconds
    this.decisions = new Map();                                 // n -> {what, by, at, sent}
    this.alarms = new Map();                                    // id -> alarm
    this.grid = null;                                           // {first, sections, positions, columns, cell: Int32Array}
    this.planned = {};
    this.hello = this.counts = this.state = this.health = this.limit = null;
    this.seq = 0;
    this.calibrated = false;                                    // whether any tile has a defocus
    this.newest = [];                                           // indices of the tiles that came last
  }

  /** Tells listeners: `what` is one of tiles, run, counts, state, alarms, limit, decisions, health. */
  tell(what) { this.dispatchEvent(new Event(what)); }

  /** Calls `work` whenever one of these changed. */
  on(names, work) { for (const name of names.split(' ')) this.addEventListener(name, work); }

  meet(hello) {
    this.hello = hello;
    if (KEYS.some((key, code) => hello.verdicts[code] !== key)) throw new Error('The page and the server are of two versions: load it again.');
    this.planned = hello.planned ?? {};
    this.limit = { max_blur_px: hello.max_blur_px };
    this.grid = null;
    this.tell('run');
  }

  get nm() { return this.hello?.pixel_nm ?? null; }
  get readonly() { return this.hello?.readonly ?? true; }
  get maxBlur() { return this.limit?.max_blur_px ?? null; }

  /** Takes all tiles anew, as `readColumns` gives them. */
  load({ seq, count, columns }) {
    this.seq = seq;
    this.size = 0;
    this.index.clear();
    this.grid = null;
    this.reserve(count);
    for (const [name] of COLUMNS) this.column[name].set(columns[name]);
    const verdict = this.column.verdict;
    for (let i = 0; i < count; i++) if (verdict[i] >= KEYS.length) verdict[i] = CODE.later;
    this.size = count;
    this.calibrated = columns.defocus.some(Number.isFinite);
    for (let i = 0; i < count; i++) this.index.set(columns.n[i], i);
    this.findNewest();
    this.tell('run');
  }

  reserve(size) {
    if (size <= this.capacity) return;
    this.capacity = Math.max(1024, size, this.capacity * 1.5 | 0);
    for (const [name, Kind] of COLUMNS) {
      const wider = new Kind(this.capacity);
      wider.set(this.column[name].subarray(0, this.size));
      this.column[name] = wider;
    }
  }

  /** Takes rows of a `tiles` event: [n, section, position, verdict, blur, flag, score, time, remarks, defocus]. */
  update(rows) {
    const changed = [];
    for (const [n, section, position, verdict, blur, flag, score, time, , defocus] of rows) {
      const known = this.index.get(n), i = known ?? this.size;
      if (known === undefined) {
        this.reserve(this.size + 1);
        this.size++;
        this.index.set(n, i);
        this.column.n[i] = n;
      }
      this.column.verdict[i] = verdict < KEYS.length ? verdict : CODE.later; // what lies beyond was taken again
      if (known === undefined) this.place(i, section ?? NONE, position ?? NONE);
      this.column.blur[i] = blur ?? NaN;
      this.column.flag[i] = flag ?? NaN;
      this.column.score[i] = score ?? NaN;
      this.column.defocus[i] = defocus ?? NaN;
      this.calibrated ||= Number.isFinite(defocus);
      if (time !== null && section !== null && !this.times.has(section)) this.times.set(section, time);
      changed.push(i);
    }
    this.changed = changed;
    this.findNewest();
    this.tell('tiles');
  }

  /** Puts a new tile where it belongs; one that was there before is a retake's forerunner, and goes. */
  place(i, section, position) {
    this.column.section[i] = section;
    this.column.position[i] = position;
    const grid = this.grid;
    if (!grid || section === NONE || position === NONE) return;
    const s = section - grid.first;
    if (s < 0 || s >= grid.sections || position >= grid.positions) { this.grid = null; return; }
    this.settle(grid.cell, s * grid.positions + position, i);
  }

  /** Gives a cell to the last of the tiles that lie there; one that is missing yields to any. */
  settle(cell, at, i) {
    const { n, verdict } = this.column, before = cell[at];
    if (verdict[i] === CODE.later) return;
    if (before === EMPTY || verdict[before] === CODE.later) { cell[at] = i; return; }
    const stays = verdict[i] === CODE.missing || (verdict[before] !== CODE.missing && n[before] > n[i]);
    cell[at] = stays ? before : i;
    verdict[stays ? i : before] = CODE.later;
  }

  /** Where each tile lies: section by position. Made when first asked for, and anew when a tile lies outside. */
  get map() {
    if (this.grid) return this.grid;
    const { section, position } = this.column;
    let low = Infinity, high = -Infinity, widest = -1;
    for (let i = 0; i < this.size; i++) {
      if (section[i] === NONE || position[i] === NONE) continue;
      if (section[i] < low) low = section[i];
      if (section[i] > high) high = section[i];
      if (position[i] > widest) widest = position[i];
    }
    const plan = this.planned, some = high >= low;
    const first = Math.min(plan.first ?? (some ? Math.min(low, 1) : 1), some ? low : Infinity);
    const sections = Math.max(plan.sections ?? 0, some ? high - first + 1 : 0, 1);
    const positions = Math.max(plan.positions ?? 0, widest + 1, 1);
    const cell = new Int32Array(sections * positions).fill(EMPTY);
    for (let i = 0; i < this.size; i++) {
      if (section[i] === NONE || position[i] === NONE) continue;
      this.settle(cell, (section[i] - first) * positions + position[i], i);
    }
    return (this.grid = { first, sections, positions, columns: plan.columns || positions, cell });
  }

  /** The index of the tile at a section's number and a position; -1 for none. */
  at(section, position) {
    const { first, sections, positions, cell } = this.map, s = section - first;
    return s >= 0 && s < sections && position >= 0 && position < positions ? cell[s * positions + position] : EMPTY;
  }

  /** The 30 tiles that came last, oldest first, by their number in the ledger. */
  findNewest() {
    const { n, verdict } = this.column, found = [];
    for (let i = this.size - 1, least = -1; i >= 0; i--) {
      if (verdict[i] === CODE.missing || verdict[i] === CODE.later || n[i] <= least) continue;
      found.push(i);
      if (found.length > 60) { found.sort((a, b) => n[b] - n[a]); found.length = 30; least = n[found[29]]; }
    }
    this.newest = found.sort((a, b) => n[a] - n[b]).slice(-30);
  }

  /** A tile's name from its place: "s0097 r2 c4". */
  name(i) {
    const section = this.column.section[i], position = this.column.position[i];
    if (section === NONE || position === NONE) return `tile ${this.column.n[i]}`;
    return `s${String(section).padStart(4, '0')} ${this.spot(position)}`;
  }

  /** A position's name, with the numbers of the file's name: "r2 c4". */
  spot(position) {
    return this.planned.labels?.[position] ?? `tile ${position + 1}`;
  }

  /** What people decided about a tile: open, retake, accept, ignore or closed. */
  stateOf(i) { return this.decisions.get(this.column.n[i])?.what ?? 'open'; }

  /** Whether a tile is to be taken again: flagged, and open or retake. */
  isDue(i) {
    if (!isBad(this.column.verdict[i])) return false;
    const state = this.stateOf(i);
    return state === 'open' || state === 'retake';
  }

  /** Indices of the tiles that ask for a look, in the order of sections and positions. */
  flagged(wanted = isBad) {
    const { verdict, section, position } = this.column, found = [];
    for (let i = 0; i < this.size; i++) if (wanted(verdict[i])) found.push(i);
    return found.sort((a, b) => section[a] - section[b] || position[a] - position[b]);
  }

  /** All that people may decide about: flagged tiles first, then those that cannot be told. */
  listed() {
    const all = this.flagged(canDecide);
    return [...all.filter((i) => isBad(this.column.verdict[i])), ...all.filter((i) => !isBad(this.column.verdict[i]))];
  }

  /** The nearest section before a tile's in which this position is in focus; -1 for none. */
  goodBefore(i) {
    const { section, position, verdict } = this.column;
    if (section[i] === NONE || position[i] === NONE) return EMPTY;
    for (let s = section[i] - 1; s >= this.map.first; s--) {
      const other = this.at(s, position[i]);
      if (other !== EMPTY && verdict[other] === CODE.in_focus) return other;
    }
    return EMPTY;
  }
}
