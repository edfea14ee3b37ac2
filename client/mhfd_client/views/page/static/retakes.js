// The view Retakes: what is to be taken again, by section; at the end what cannot be told.

import { $, bdi, framed, h, say, settled } from './dom.js';
import { ask } from './live.js';
import { mark } from './marks.js';
import { toast } from './toast.js';
import { CODE, KEYS, WORDS, clock, count, isBad, plain, plural, px } from './words.js';

const LONG = 120, PART = 100, SMALL = 4;

export function makeRetakes({ store, view, decisions }) {
  const table = $('.list'), open = new Map();                   // group -> how many of its tiles are shown
  let groupsShown = PART;

  /** [[title, note, tiles]] by section, then those that cannot be told. */
  function groups() {
    const wanted = (i) => !view.onlyOpen || store.stateOf(i) === 'open';
    const all = store.listed().filter(wanted), bySection = new Map(), unsure = [];
    const put = (section, each) => (bySection.get(section) ?? bySection.set(section, []).get(section)).push(each);
    for (const i of all) isBad(store.column.verdict[i]) ? put(store.column.section[i], i) : unsure.push(i);
    if (!view.onlyOpen) for (const fact of decisions.facts.values()) if (fact.state === 'closed') put(fact.section, fact);
    const found = [...bySection].sort(([a], [b]) => a - b).map(([section, tiles]) => ({ key: section, title: `Section ${section}`, tiles,
      note: `${count(tiles.length)} of ${plural(ofSection(section), 'tile')}${store.times.has(section) ? `, ${clock(store.times.get(section))}` : ''}` }));
    if (unsure.length) found.push({ key: 'unsure', title: 'Cannot tell', tiles: unsure, note: `${plural(unsure.length, 'tile')}: look, and decide` });
    return found;
  }

  function ofSection(section) {
    let sum = 0;
    for (let p = 0; p < store.map.positions; p++) if (store.at(section, p) >= 0) sum++;
    return sum;
  }

  function why(i) {
    const known = decisions.facts.get(store.column.n[i]);
    return known?.why ?? known?.reason ?? '';
  }

  function stage(i) {
    const known = decisions.facts.get(store.column.n[i])?.stage_mm;
    return known ? known.map((each) => each.toFixed(3)).join(', ') : '–';
  }

  function decided(i) {
    const one = store.decisions.get(store.column.n[i]);
    if (!one) return null;
    const time = one.sent ? clock(one.at) : 'not sent';
    return h('span', { className: 'soft small who', title: plain(one.by ?? '') }, h('span', { className: 'thin' }, `${one.what}, `), one.by ? bdi(one.by) : '', ` ${time}`);
  }

  function row(i) {
    const n = store.column.n[i], code = store.column.verdict[i], state = store.stateOf(i), closed = state === 'closed';
    const buttons = decisions.buttons(i, false);
    return h('tr', { 'aria-current': n === view.n && 'true', className: closed ? 'closed' : '', 'data-n': n,
      onclick: (event) => { if (!event.target.closest('a, button')) view.choose(n); } },
    h('td', {}, h('a', { href: `#/tile/${n}` }, mark(code, WORDS[KEYS[code]]), h('span', {}, plain(store.name(i))))),
    h('td', { className: 'n' }, px(store.column.blur[i])),
    h('td', { className: 'reason' }, plain(why(i))),
    h('td', { className: 'n wide soft stage' }, stage(i)),
    h('td', {}, closed ? 'taken again' : buttons.length ? h('span', { className: 'join decide' }, ...buttons) : state, decided(i)));
  }

  /** A tile that was taken again since. */
  function closedRow(fact) {
    return h('tr', { className: 'closed' },
      h('td', {}, h('span', { className: 'name' }, mark(CODE.in_focus), bdi(fact.name))), h('td', { className: 'n' }, px(fact.blur_px ?? NaN)),
      h('td', { className: 'reason' }, plain(fact.why ?? '')), h('td', { className: 'stage' }),
      h('td', {}, 'closed', fact.by ? h('span', { className: 'small who' }, bdi(fact.by), ` ${clock(fact.at)}`) : null));
  }

  function group({ key, title, note, tiles }, closed) {
    const chosen = tiles.findIndex((i) => store.column.n[i] === view.n && view.n !== null);
    let shown = open.get(key) ?? (closed ? 0 : PART);
    if (chosen >= shown) open.set(key, shown = PART * Math.ceil((chosen + 1) / PART));
    const more = tiles.length - shown;
    return h('tbody', {},
      h('tr', {}, h('th', { colspan: 5, scope: 'rowgroup' }, title, h('span', { className: 'note' }, note),
        closed && !shown ? h('button', { 'aria-expanded': 'false', onclick: () => { open.set(key, PART); render(); } }, `Show ${plural(tiles.length, 'tile')}`) : null)),
      ...tiles.slice(0, shown).map((each) => (typeof each === 'number' ? row(each) : closedRow(each))),
      shown && more > 0 ? h('tr', {}, h('td', { colspan: 5 }, h('button', { onclick: () => { open.set(key, shown + PART); render(); } }, `${count(Math.min(PART, more))} more of ${count(tiles.length)}`))) : null);
  }

  let key = '';
  const render = framed(() => {
    if (view.name !== 'retakes') { key = ''; return; }
    const all = groups(), total = all.reduce((sum, each) => sum + each.tiles.length, 0);
    const due = store.flagged().filter((i) => store.isDue(i)), sections = new Set(due.map((i) => store.column.section[i])).size;
    say($('#h-retakes'), due.length ? `${count(due.length)} to take again, in ${plural(sections, 'section')}` : 'Nothing to take again');
    const focus = focused();
    [...table.tBodies].forEach((body) => body.remove());
    let rows = 0;                                               // in a long list only small groups are open, and not too many
    table.append(...all.slice(0, groupsShown).map((each) => {
      const closed = total > LONG && (each.tiles.length > SMALL || rows > LONG);
      rows += closed ? 0 : each.tiles.length;
      return group(each, closed);
    }));
    if (all.length > groupsShown) {
      table.append(h('tbody', {}, h('tr', {}, h('td', { colspan: 5 },
        h('button', { onclick: () => { groupsShown += PART; render(); } }, `${count(Math.min(PART, all.length - groupsShown))} more sections of ${count(all.length)}`)))));
    }
    table.hidden = !total;
    table.classList.toggle('no-stage', ![...decisions.facts.values()].some((fact) => fact.stage_mm));
    say($('#none'), total ? '' : store.size ? 'No tile is flagged so far.' : 'No tile yet.');
    focus?.();
    if (key !== String(view.n)) { key = String(view.n); $('tr[aria-current]', table)?.scrollIntoView({ block: 'nearest' }); }
  });

  /** Where the keyboard is in the table, to put it back after it was drawn anew. */
  function focused() {
    const at = document.activeElement, tr = at?.closest?.('.list tr[data-n]');
    if (!tr) return null;
    const { n } = tr.dataset, k = [...tr.querySelectorAll('a, button')].indexOf(at);
    return () => table.querySelector(`tr[data-n="${n}"]`)?.querySelectorAll('a, button')[k]?.focus({ preventScroll: true });
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(await (await ask('api/retakes?format=csv')).text());
      toast('The list is in the clipboard, as CSV.');
    } catch (error) { toast(`Not copied: ${error.message}`); }
  }

  $('#copy').addEventListener('click', copy);
  $('#only-open').addEventListener('click', (event) => {
    view.set({ onlyOpen: !view.onlyOpen });
    event.currentTarget.setAttribute('aria-pressed', String(view.onlyOpen));
  });
  const learn = settled(() => { if (view.name === 'retakes') decisions.fetch().catch(() => {}); }, 400);
  store.on('run tiles', () => { if (view.name === 'retakes') learn(); });
  view.on('route', learn);
  store.on('run tiles decisions', render);
  view.on('route look', render);
}
