// The view Now: the state in one word, the counts, the alarms, the last tiles.

import { $, bdi, framed, h, say, settled, soon } from './dom.js';
import { mark } from './marks.js';
import { hasPicture, thumb } from './pictures.js';
import { nearest } from './preview.js';
import { CODE, KEYS, WORDS, clock, count, isBad, plain, px } from './words.js';

const LEVELS = { in_focus: 'calm', drifting: 'alarm', out_of_focus: 'alarm', waiting: 'warn', silent: 'warn' };
const COUNTS = ['in_focus', 'no_content', 'cannot_tell', 'todo', 'missing', 'later'];
const PARTS = ['out_of_focus', 'astigmatic', 'failed'];

/** The state to show: the server's, unless the line is lost; nothing green is made up. */
function stateNow(store, live) {
  if (live.state === 'lost') {
    const at = live.since ? `What you see was true at ${clock(live.since / 1000)}.` : 'Nothing has come yet.';
    return { code: 'offline', word: 'Offline', text: `${at} The run goes on without this page.` };
  }
  return store.state ?? { code: 'ready', word: 'Connecting', text: 'Fetching the tiles of the run.' };
}

export function makeNow({ store, view, live, decisions }) {
  const links = new Map();                                      // n -> its place in the strip
  let first = true;

  const renderState = soon(() => {                              // the title is read in other tabs too
    const { code, word, text } = stateNow(store, live), level = LEVELS[code] ?? 'off', beacon = $('.beacon');
    const shape = level === 'calm' ? CODE.in_focus : level === 'alarm' ? CODE.out_of_focus : CODE.todo;
    const key = `${code} ${word}`;
    if (beacon.dataset.key !== key) {
      Object.assign(beacon.dataset, { level, key });
      beacon.replaceChildren(mark(shape), h('b', {}, plain(word)), h('p', {}));
    }
    say(beacon.lastChild, plain(text ?? ''));
    const take = dueByVerdict().reduce((sum, each) => sum + each, 0);
    say($('#open'), take ? count(take) : '');
    document.title = `${level === 'alarm' ? `▲ ${word} · ` : level === 'calm' ? '' : `${word} · `}${count(take)} to take again · mhfd`;
    say($('#said'), `${word}. ${count(take)} to take again.`);  // read out once, when it changes
  });

  function dueByVerdict() {
    const sums = PARTS.map(() => 0), codes = PARTS.map((key) => CODE[key]), { verdict } = store.column;
    for (let i = 0; i < store.size; i++) if (isBad(verdict[i]) && store.isDue(i)) sums[codes.indexOf(verdict[i])]++;
    return sums;
  }

  function makeCounts() {
    $('.counts').replaceChildren(
      h('div', { className: 'lead' }, h('dt', {}, 'take again'), h('dd', { className: 'big' }),
        h('dd', { className: 'parts' }, ...PARTS.map((key) => h('span', { title: WORDS[key] }, mark(CODE[key], WORDS[key]), h('span', {}))))),
      ...COUNTS.map((key) => h('div', { 'data-k': key },
        h('dt', {}, key === 'later' ? null : mark(CODE[key]), WORDS[key]), h('dd', {}))));
  }

  function put(element, text) {
    if (element.textContent === text) return;
    const known = element.textContent !== '';
    element.textContent = text;
    if (known) { element.classList.remove('new'); void element.offsetWidth; element.classList.add('new'); }
  }

  const renderCounts = framed(() => {
    if (!$('.counts').firstChild) makeCounts();
    const due = dueByVerdict(), take = due.reduce((sum, each) => sum + each, 0), lead = $('.counts .lead');
    lead.classList.toggle('long', take > 999);
    put($('.big', lead), count(take));
    due.forEach((each, k) => put($('.parts', lead).children[k].lastChild, count(each)));
    for (const key of COUNTS) put($(`[data-k=${key}] dd`, $('.counts')), count(store.counts?.[key] ?? (store.counts ? 0 : null)));
  });

  const renderAlarms = framed(() => {
    const newest = [...store.alarms.values()].sort((a, b) => b.id - a.id).slice(0, 3);
    $('.alarms ul').replaceChildren(...(newest.length ? newest.map((alarm) => h('li', {},
      h('time', { className: 'soft' }, clock(alarm.began)),
      h('span', {}, plain(alarm.text), alarm.ended && h('span', { className: 'soft' }, ` Over at ${clock(alarm.ended)}${alarm.end ? `: ${plain(alarm.end)}` : ''}.`),
        alarm.seen_by ? h('span', { className: 'soft' }, ' Seen by ', bdi(alarm.seen_by), '.') : null),
      alarm.seen_by || alarm.id < 0 || store.readonly ? null
        : h('button', { 'aria-label': `Seen: ${plain(alarm.text)}`, onclick: () => decisions.seen(alarm.id) }, 'Seen')))
      : [h('li', { className: 'soft none' }, 'None.')]));
  });

  function link(i) {
    const n = store.column.n[i], code = store.column.verdict[i], trying = view.line !== null;
    const shown = trying ? (store.column.flag[i] > view.line ? CODE.out_of_focus : CODE.in_focus) : code;
    let made = links.get(n);
    if (!made) {
      made = h('a', { href: `#/tile/${n}`, className: first || trying ? '' : 'new' }, h('span', { className: 'frame' }), h('span'));
      links.set(n, made);
    }
    if (made.dataset.v !== KEYS[shown] || made.dataset.was !== KEYS[code]) {
      Object.assign(made.dataset, { v: KEYS[shown], was: KEYS[code] });
      made.toggleAttribute('data-bad', isBad(shown));
      made.replaceChild(mark(shown), made.lastChild);
    }
    const label = `${plain(store.name(i))}, ${WORDS[KEYS[code]]}`;
    if (made.getAttribute('aria-label') !== label) made.setAttribute('aria-label', label);
    const frame = made.firstChild;
    if (hasPicture(code) && !frame.firstChild && frame.clientWidth) frame.append(thumb(n, frame.clientWidth));
    return made;
  }

  const renderStrip = framed(() => {
    if (view.name !== 'now') return;
    const trying = view.line !== null, strip = $('.strip');
    const tiles = trying ? nearest(store.column, store.size, view.line) : store.newest;
    const shown = new Set(tiles.map((i) => store.column.n[i]));
    for (const n of links.keys()) if (!shown.has(n)) links.delete(n);
    const row = tiles.map(link);
    if (row.length !== strip.children.length || row.some((one, k) => strip.children[k] !== one)) {
      strip.replaceChildren(...row);
      strip.scrollLeft = trying ? 0 : strip.scrollWidth;
    }
    tiles.forEach(link);                                        // now that they have a width: their pictures
    const over = trying ? tiles.findIndex((i) => store.column.flag[i] > view.line) : -1;
    row.forEach((one, k) => one.classList.toggle('over', k === over));
    say($('#h-last'), trying ? `${tiles.length} tiles nearest the line` : `Last ${tiles.length || 30} tiles`);
    const { flag } = store.column, ends = `flagged up to a threshold of ${px(flag[tiles[0]])} to ${px(flag[tiles[tiles.length - 1]])}, left to right`;
    say($('#last-note'), !tiles.length ? 'none yet' : `${trying ? ends : 'newest at the right'}; each the worst block at 1:1`);
    first = first && !tiles.length;
  });

  const stripLater = settled(renderStrip, 120);
  store.on('run tiles', () => { if (view.line === null) renderStrip(); });
  store.on('run tiles counts decisions', renderCounts);
  store.on('run tiles state decisions', renderState);
  store.on('run alarms', renderAlarms);
  live.addEventListener('line', renderState);
  view.on('line', stripLater);
  view.on('route', renderStrip);
  window.addEventListener('resize', settled(() => { links.clear(); renderStrip(); }, 200));
}
