// Beside the map: the chosen section as a grid of buttons. Beside map and retakes: the chosen tile.

import { $, framed, h, say, settled } from './dom.js';
import { cutAt, sentences } from './facts.js';
import { mark } from './marks.js';
import { cropUrl, hasPicture, picture, thumb } from './pictures.js';
import { CODE, KEYS, WORDS, canDecide, clock, isBad, plain } from './words.js';

const PICTURED = 240, MOST = 700, ROOM = 326, GAP = 4, WIDEST = 112;

/** Draws a picture on a canvas at 1:1, in its middle. */
function drawPlain(canvas, image) {
  const scale = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  canvas.width = width;
  canvas.height = height;
  if (!image) return;
  const context = canvas.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.drawImage(image, Math.round((width - image.width * scale) / 2), Math.round((height - image.height * scale) / 2), image.width * scale, image.height * scale);
}

export function makeSide({ store, view, decisions, facts }) {
  const slider = $('.side input'), grid = $('.grid');
  let shown = null;                                             // the section in the grid

  function choose() {
    let i = store.index.get(view.n);
    const fits = i !== undefined && (view.name === 'map' ? store.column.verdict[i] !== CODE.later : canDecide(store.column.verdict[i]));
    if (!fits) {
      i = view.name === 'map' ? store.flagged()[0] ?? store.newest[store.newest.length - 1] : store.listed()[0];
      if (i !== undefined) view.n = store.column.n[i];
    }
    return i;
  }

  function gridOf(section, chosen) {
    const { positions, columns } = store.map, cells = [];
    const pictured = positions <= PICTURED;
    if (shown !== section) { grid.replaceChildren(); shown = section; }
    const across = Math.min(columns, Math.max(7, Math.round(Math.sqrt(positions * 1.2))));
    for (let p = 0; p < positions && cells.length < MOST; p++) {
      const i = store.at(section, p);
      if (!pictured && (i < 0 || !canDecide(store.column.verdict[i]))) continue;
      cells.push([p, i]);
    }
    if (grid.children.length !== cells.length) grid.replaceChildren(...cells.map(() => h('button', {}, h('span', { className: 'frame' }), h('span'))));
    const room = ROOM / Math.ceil(cells.length / across) - GAP, wide = Math.min(grid.clientWidth / across - GAP, WIDEST);
    grid.style.setProperty('--columns', across);
    grid.style.setProperty('--high', `${Math.max(24, Math.min(wide / 1.25, room))}px`);
    cells.forEach(([p, i], k) => cell(grid.children[k], section, p, i, chosen, pictured));
  }

  function cell(button, section, p, i, chosen, pictured) {
    const code = i < 0 ? CODE.later : store.column.verdict[i], key = `${i} ${code}`;
    button.toggleAttribute('aria-current', i >= 0 && i === chosen);
    if (i >= 0 && i === chosen) button.setAttribute('aria-current', 'true');
    if (button.dataset.key !== key) {
      button.dataset.key = key;
      button.disabled = i < 0;
      button.setAttribute('aria-label', `s${section} ${plain(store.spot(p))}, ${WORDS[KEYS[code]]}`);
      button.onclick = () => view.choose(store.column.n[i]);
      button.replaceChild(i < 0 ? h('span') : mark(code), button.lastChild);
      button.firstChild.replaceChildren();
    }
    if (pictured && i >= 0 && hasPicture(code) && !button.firstChild.firstChild) pending.push([button, i, key]);
  }

  let pending = [];
  const fill = settled(() => {
    for (const [button, i, key] of pending.splice(0)) {
      const frame = button.firstChild;
      if (button.isConnected && button.dataset.key === key && !frame.firstChild) frame.append(thumb(store.column.n[i], frame.clientWidth));
    }
  }, 150);

  function head(i) {
    const section = store.column.section[i], { first, sections, positions } = store.map;
    let bad = 0;
    for (let p = 0; p < positions; p++) { const other = store.at(section, p); if (other >= 0 && isBad(store.column.verdict[other])) bad++; }
    const time = store.times.get(section);
    say($('#h-section'), `Section ${section}`);
    say($('#section-note'), `${bad || 'none'} flagged${time ? `, ${clock(time)}` : ''}`);
    slider.min = first;
    slider.max = first + sections - 1;
    slider.value = section;
    slider.setAttribute('aria-valuetext', `section ${section}, ${bad} flagged`);
    gridOf(section, i);
    fill();
  }

  async function about(i) {
    const n = store.column.n[i], code = store.column.verdict[i], canvas = $('.side .crop');
    $('#side-name').replaceChildren(mark(code, WORDS[KEYS[code]]), ` ${plain(store.name(i))}`);
    $('#side-open').href = `#/tile/${n}`;
    $('#side-decide').replaceChildren(...decisions.buttons(i));
    canvas.setAttribute('aria-label', `${plain(store.name(i))}, worst block at 1:1`);
    try {
      const known = await facts.of(n);
      if (view.n !== n) return;
      say($('#side-sentence'), sentences(known)[0]);
      if (!hasPicture(code) || !known.shape || !canvas.clientWidth) { drawPlain(canvas, null); return; }
      const image = await picture(cropUrl(n, cutAt(known, canvas.clientWidth, canvas.clientHeight)));
      if (view.n === n) drawPlain(canvas, image);
    } catch (error) {
      if (view.n === n) { drawPlain(canvas, null); say($('#side-sentence'), error.status ? error.message : 'No picture: it cannot be fetched now.'); }
    }
  }

  const aboutSoon = settled(about, 60);
  let told = '';
  const render = framed(() => {
    if (view.name !== 'map' && view.name !== 'retakes') return;
    const i = choose();
    $('.side').classList.toggle('nothing', i === undefined);
    if (i === undefined) return;
    if (view.name === 'map') head(i);
    const key = [view.n, store.column.verdict[i], store.stateOf(i), view.name, $('.side .crop').clientWidth].join();
    if (key !== told) { told = key; aboutSoon(i); }
  });

  slider.addEventListener('input', () => {
    const i = store.index.get(view.n), section = Number(slider.value), position = i === undefined ? 0 : store.column.position[i];
    for (let k = 0; k < store.map.positions; k++) {
      const found = store.at(section, (position + k) % store.map.positions);
      if (found >= 0) { view.choose(store.column.n[found]); return; }
    }
  });
  store.on('run', () => { told = ''; shown = null; });           // names and columns come with it
  store.on('run tiles decisions', render);
  view.on('route', render);
  window.addEventListener('resize', render);
}
