// The line to the server: all tiles once, then what changes, for ever. A lost line is said and tried again.

import { readColumns } from './columns.js';
import { EventReader } from './sse.js';

const QUIET_MS = 15000, FETCH_MS = 120000, LONGEST_S = 30;

export class Live extends EventTarget {
  /** Feeds `store`; `takers` take the events by name. Tells `line` when the connection changes. */
  constructor(store, takers) {
    super();
    this.store = store;
    this.takers = takers;
    this.state = 'first';                                       // first, live or lost
    this.since = null;
    this.wait = 1;
    this.held = false;
    this.kept = [];                                             // what came while the page was held
    this.fresh = false;
  }

  turn(state) {
    if (state === 'lost' && this.state === 'live') this.since = Date.now();
    if (state === 'live') this.wait = 1;
    if (this.state !== state || state === 'lost') { this.state = state; this.dispatchEvent(new Event('line')); }
  }

  /** Runs until the page closes. */
  async run() {
    for (;;) {
      try {
        this.trouble = null;
        if (await this.once()) continue;
      } catch (error) {
        if (this.again) continue;
        this.trouble = error;
      }
      this.retryAt = Date.now() + 1000 * this.wait;
      this.turn('lost');
      await this.pause(this.wait);
      this.wait = Math.min(this.wait * 2, LONGEST_S);
    }
  }

  pause(seconds) {
    return new Promise((done) => {
      this.tryNow = done;
      setTimeout(done, 1000 * seconds);
    });
  }

  /** One connection: true where all is to be fetched again at once. */
  async once() {
    const stop = new AbortController();
    let quiet = 0;
    const heard = (wait = QUIET_MS) => { clearTimeout(quiet); quiet = setTimeout(() => stop.abort(), wait); };
    Object.assign(this, { stop, again: false });
    heard(FETCH_MS);
    try {
      if (!this.fresh) await this.fetchAll(stop.signal);
      heard();
      const answer = await ask(`api/events?after=${this.store.seq}`, { signal: stop.signal });
      const stream = answer.body.pipeThrough(new TextDecoderStream()).getReader(), reader = new EventReader();
      for (;;) {
        const { value, done } = await stream.read();
        if (done) return false;
        heard();
        this.turn('live');
        for (const event of reader.push(value)) if (this.take(event)) return true;
      }
    } finally {
      clearTimeout(quiet);
      stop.abort();
    }
  }

  async fetchAll(signal) {
    const early = await window.earlyTiles;                      // asked for by early.js
    window.earlyTiles = null;
    const answer = early?.ok ? early : await ask('api/tiles.bin', { signal });
    this.store.load(readColumns(await answer.arrayBuffer()));
    this.fresh = true;
  }

  /** Hands an event on; true if all tiles are to be fetched again. */
  take({ event, data, id }) {
    if (event === 'reset') { this.fresh = false; this.kept = []; return !this.held; }
    if (this.held && event !== 'hello') this.kept.push([event, data]);
    else this.hand(event, data);
    if (id) this.store.seq = Number(id);
    return false;
  }

  hand(event, data) { this.takers[event]?.(JSON.parse(data)); }

  /** Lets the page stand still, or go on with all that came meanwhile. */
  hold(held) {
    this.held = held;
    if (held) return;
    for (const [event, data] of this.kept.splice(0)) this.hand(event, data);
    if (!this.fresh && this.state === 'live') { this.again = true; this.stop.abort(); } // all changed meanwhile
  }
}

/** Fetches from our server; what it refuses becomes an error with `status`, its sentence and its answer. */
export async function ask(url, options = {}) {
  const answer = await fetch(url, { credentials: 'same-origin', ...options });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(body.error ?? `The server answered ${answer.status}.`), { status: answer.status, body });
}

export const askJson = async (url, options) => (await ask(url, options)).json();

export const post = (url, body) => askJson(url, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});
