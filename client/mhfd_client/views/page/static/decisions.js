// Decisions about tiles and the run's threshold: shown at once, sent in order, kept while the line is lost.

import { bdi, h } from './dom.js';
import { askJson, post } from './live.js';
import { toast } from './toast.js';
import { whoAmI } from './who.js';
import { canDecide, clock, px } from './words.js';

const HEARD_MS = 10000;                                         // by then the server has told what was sent
const WAYS = [['retake', 'Retake', 'R'], ['accept', 'Accept', 'A'], ['ignore', 'Ignore', 'I']];

export class Decisions {
  constructor(store, live) {
    Object.assign(this, { store, live, waiting: [], sending: false, facts: new Map(), changes: 0 });
    this.changed = new Map();                                   // n -> the number of its last change here
    this.unheard = new Map();                                   // n -> what was sent of it and not told back yet, oldest first
    live.addEventListener('line', () => this.send());
  }

  /** Fetches what stands, with what only the server knows of each tile. */
  async fetch() {
    const start = this.changes, own = new Set(this.waiting.map((one) => one.n));
    for (const [n, sent] of this.unheard) if (sent.length) own.add(n); // the list may not know of these yet
    const { tiles } = await askJson('api/retakes'), { decisions } = this.store;
    this.facts = new Map(tiles.map((tile) => [tile.n, tile]));
    const newer = (n) => own.has(n) || this.changed.get(n) > start; // than the answer
    this.store.decisions = new Map([
      ...tiles.filter(({ n, state }) => state !== 'open' && !newer(n)).map(({ n, state, by, at }) => [n, { what: state, by, at, sent: true }]),
      ...[...decisions].filter(([n]) => newer(n)),
    ]);
    this.store.tell('decisions');
  }

  /** A decision as the server tells it; what this page sent comes back late, when there may be a newer one. */
  hear({ n, what, by, at }) {
    const own = this.unheard.get(n) ?? [];                      // of two in short order only the later may be told
    own.splice(0, own.lastIndexOf(what) + 1);
    if (!own.length && !this.waitsFor(n)) this.set(n, what, by, at, true);
  }

  /** Whether a newer decision about a tile is still to be sent. */
  waitsFor(n) { return this.waiting.some((one) => one.n === n); }

  /** A new connection: the server tells all that stands. */
  forget() { this.unheard.clear(); }

  set(n, what, by, at, sent) {
    this.changed.set(n, ++this.changes);
    if (what === 'open') this.store.decisions.delete(n);
    else this.store.decisions.set(n, { what, by, at, sent });
    this.store.tell('decisions');
  }

  /** Decides about a tile; the same again opens it. */
  async decide(i, what) {
    const { store } = this, name = store.name(i), n = store.column.n[i];
    if (store.readonly) return;
    if (!canDecide(store.column.verdict[i])) { toast(`${name} is not flagged: nothing to decide.`); return; }
    const by = await whoAmI(store);
    if (by === null) return;
    const was = store.stateOf(i), next = was === what ? 'open' : what;
    this.put(n, next, was, by);
    toast(`${name}: ${next}.`, () => this.put(n, was, store.decisions.get(n)?.what ?? 'open', by));
  }

  put(n, what, was, by) {
    this.set(n, what, by, Date.now() / 1000, false);
    this.waiting.push({ n, what, was, by });
    this.send();
  }

  /** Sends what waits, in order, as long as the server answers. */
  async send() {
    if (this.sending || this.live.state !== 'live') return;
    this.sending = true;
    try {
      while (this.waiting.length) {
        const one = this.waiting[0], own = this.unheard.get(one.n) ?? this.unheard.set(one.n, []).get(one.n);
        try {
          own.push(one.what);
          const done = await post('api/decision', one);
          this.waiting.shift();
          setTimeout(() => { own.length = 0; }, HEARD_MS);
          if (!this.waitsFor(one.n)) this.set(one.n, done.what, done.by, done.at ?? Date.now() / 1000, true);
        } catch (error) {
          own.pop();
          if (error.status === undefined) { setTimeout(() => this.send(), 3000); return; } // the line is lost
          this.waiting.shift();
          this.refused(one, error);
        }
      }
    } finally {
      this.sending = false;
    }
  }

  refused(one, { status, body, message }) {
    if (status === 409 && body.what === one.what) {             // sent before; only the answer was lost
      this.set(one.n, body.what, body.by, body.at, true);
    } else if (status === 409) {
      this.set(one.n, body.what, body.by, body.at, true);
      toast([bdi(body.by ?? 'Somebody'), ` decided before you: ${body.what}, ${clock(body.at)}.`]);
    } else {
      this.set(one.n, one.was, null, null, true);
      toast(`Not kept: ${message}`);
    }
  }

  /** Makes a tried threshold the run's. */
  async apply(line) {
    const by = await whoAmI(this.store), was = this.store.maxBlur;
    if (by === null) return false;
    try {
      this.store.limit = await post('api/limit', { max_blur_px: line, by, was });
      toast(`Flagged above ${px(line)} from now on; kept for this run.`, () => this.apply(was));
    } catch (error) {
      if (error.status === 409) this.store.limit = error.body;
      toast(error.status === 409
        ? [bdi(error.body.by ?? 'Somebody'), ` set the line to ${px(error.body.max_blur_px)} before you.`] : `Not kept: ${error.message}`);
    }
    this.store.tell('limit');
    return true;
  }

  async seen(id) {
    const by = await whoAmI(this.store);
    if (by === null) return;
    try {
      this.store.alarms.set(id, { ...this.store.alarms.get(id), ...await post(`api/alarm/${id}/seen`, { by, was: null }) });
    } catch (error) {
      toast(`Not kept: ${error.message}`);
    }
    this.store.tell('alarms');
  }

  /** The buttons that decide about a tile; none for one without need, nor where the page may only read. */
  buttons(i, keys = true) {
    const { store } = this;
    if (store.readonly || !canDecide(store.column.verdict[i]) || store.stateOf(i) === 'closed') return [];
    return WAYS.map(([what, word, key]) => h('button', {
      'aria-pressed': String(store.stateOf(i) === what), 'aria-label': keys ? undefined : `${word} ${store.name(i)}`,
      'aria-keyshortcuts': key, onclick: () => this.decide(i, what),
    }, word, keys ? h('kbd', { 'aria-hidden': 'true' }, key) : null));
  }
}
