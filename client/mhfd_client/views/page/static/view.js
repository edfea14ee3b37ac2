// What the viewer looks at: the view, the chosen tile, and how it is shown. Its address is the page's fragment.

const ROUTE = /^#\/(now|map|tile|retakes)(?:\/(\d+))?$/;

/** Tells `route` when view or tile change, `line` when another threshold is tried, `look` for the rest. */
export class View extends EventTarget {
  constructor() {
    super();
    Object.assign(this, {
      name: 'now', n: null,
      line: null, change: null, near: new Set(),                // the threshold being tried, what it would change, and its tiles
      colour: 'blur', measure: 'blur',                          // of the map, of the chart
      one: true, features: false, blink: false, onlyOpen: false,
    });
    window.addEventListener('hashchange', () => this.read());
  }

  on(names, work) { for (const name of names.split(' ')) this.addEventListener(name, work); }

  set(changes, kind = 'look') {
    Object.assign(this, changes);
    this.dispatchEvent(new Event(kind));
  }

  read() {
    const [, name, n] = ROUTE.exec(window.location.hash) ?? [null, 'now'];
    const moved = name !== this.name;
    this.set({ name, n: n === undefined ? this.n : Number(n), blink: false }, 'route');
    if (moved) window.scrollTo(0, 0);
  }

  go(name, n = this.n) { window.location.hash = name === 'tile' && n !== null ? `#/tile/${n}` : `#/${name}`; }

  /** Chooses a tile by its number in the ledger, within the view. */
  choose(n) {
    if (this.name === 'tile') this.go('tile', n);
    else this.set({ n }, 'route');
  }
}
