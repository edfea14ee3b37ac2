// The map, section by position: one picture with a pixel a tile, scaled by the canvas, and marks for what asks for a look.

import { GUTTER, drawSections } from './axis.js';
import { $, $$, framed, h, say, sized } from './dom.js';
import { listen } from './mapcontrol.js';
import { FOOT, MapPicture, fit } from './mappicture.js';
import { drawMark, mark, palette } from './marks.js';
import { CODE, KEYS, WORDS, clamp, isBad, isMeasured, plain, px, um } from './words.js';

const BIG = 12, LEAST = 5, DEEPEST = 24;
const COLOURS = ['verdict', 'blur', 'score', 'defocus'];
const LISTED = ['in_focus', 'out_of_focus', 'astigmatic', 'no_content', 'cannot_tell', 'failed', 'missing'].map((key) => CODE[key]);

export function makeMap({ store, view }) {
  const canvas = $('.map canvas'), picture = new MapPicture(store);
  let at = { x: 0, y: 0, zoom: 1 }, placed = null, painted = null, stale = true, moved = false, colours = palette();

  const whole = () => view.name === 'map';
  const X = (s) => GUTTER + (s - placed.x0) * placed.kx;
  const Y = (p) => (p - placed.y0) * placed.ky;

  /** The sections on the screen, as indices: [first, past the last]. */
  const seen = () => [Math.max(0, Math.floor(placed.x0)), Math.min(painted.sections, Math.ceil(placed.x0 + placed.width / placed.kx))];

  function drawLines(context) {
    const { positions, columns } = painted, right = GUTTER + placed.width;
    context.strokeStyle = colours.raised;
    context.lineWidth = 1;
    if (placed.kx > 9) {
      context.beginPath();
      const [from, to] = seen();
      for (let s = from; s <= to; s++) { context.moveTo(X(s), 0); context.lineTo(X(s), placed.height); }
      for (let p = Math.floor(placed.y0); p <= positions && Y(p) < placed.height; p++) { context.moveTo(GUTTER, Y(p)); context.lineTo(right, Y(p)); }
      context.stroke();
    }
    context.fillStyle = colours.raised;
    if (columns * placed.ky > 8) for (let p = columns; p < positions; p += columns) context.fillRect(GUTTER, Y(p) - 0.5, placed.width, 1);
  }

  function drawSmall(context, i, x, y, wide, high) {
    const code = store.column.verdict[i];
    if (code === CODE.missing) {
      const gap = Math.max(3, placed.kx);
      context.fillStyle = colours.raised;
      context.fillRect(x - gap / 2, y - high / 2, gap, high);
      context.fillStyle = colours.soft;
      context.fillRect(x - 0.75, y - 0.75, 1.5, 1.5);
      return;
    }
    context.fillStyle = colours.raised;                         // a halo
    context.fillRect(x - wide / 2 - 1, y - high / 2 - 1, wide + 2, high + 2);
    context.fillStyle = colours.marks[code];
    context.fillRect(x - wide / 2, y - high / 2, wide, high);
    if (code === CODE.cannot_tell) {
      context.strokeStyle = colours.edge;
      context.lineWidth = 1;
      context.strokeRect(x - wide / 2, y - high / 2, wide, high);
    } else if (!store.isDue(i)) {                               // decided: hollow
      context.fillStyle = colours.raised;
      context.fillRect(x - wide / 2 + 1.5, y - high / 2 + 1.5, wide - 3, high - 3);
    }
  }

  function drawNear(context, x, y, wide, high) {
    context.fillStyle = colours.raised;
    context.fillRect(x - wide / 2, y - high / 2, wide, high);
    context.strokeStyle = colours.marks[view.line < store.maxBlur ? CODE.out_of_focus : CODE.in_focus];
    context.lineWidth = 1.6;
    context.strokeRect(x - wide / 2 + 0.8, y - high / 2 + 0.8, wide - 1.6, high - 1.6);
  }

  function drawShape(context, i, x, y, wide, high) {
    const code = store.column.verdict[i], size = 16 * Math.min(placed.kx, placed.ky, 22) / 22;
    if (code === CODE.later || (code === CODE.in_focus && view.colour !== 'verdict')) return;
    const hollow = isBad(code) && !store.isDue(i);
    if (hollow) {
      context.fillStyle = colours.raised;
      context.fillRect(x - wide / 2 + 2, y - high / 2 + 2, wide - 4, high - 4);
    }
    const ink = code === CODE.cannot_tell ? '#15181c' : isBad(code) && !hollow ? colours.raised : colours.marks[code];
    drawMark(context, code, x, y, size, ink);
  }

  function drawCells(context) {
    const { cell, positions } = painted, { section, position } = store.column, [from, to] = seen();
    const big = Math.min(placed.kx, placed.ky) >= BIG, wide = Math.max(LEAST, placed.kx), high = Math.max(LEAST, placed.ky);
    const place = (i) => [X(section[i] - painted.first + 0.5), Y(position[i] + 0.5)];
    const shows = (i) => { const s = section[i] - painted.first; return s >= from - 1 && s <= to; };
    if (big) {
      const top = Math.floor(placed.y0), bottom = Math.min(positions, Math.ceil(placed.y0 + placed.height / placed.ky));
      for (let s = from; s < to; s++) for (let p = top; p < bottom; p++) {
        const i = cell[s * positions + p];
        if (i >= 0) drawShape(context, i, ...place(i), wide, high);
      }
    } else for (const i of picture.special) if (shows(i)) drawSmall(context, i, ...place(i), wide, high);
    for (const i of view.near) if (shows(i)) drawNear(context, ...place(i), wide, high);
  }

  function drawChosen(context) {
    const i = store.index.get(view.n);
    if (i === undefined || !(whole() || canvas.matches(':focus'))) return;
    const x = X(store.column.section[i] - painted.first + 0.5), y = Y(store.column.position[i] + 0.5);
    const wide = Math.max(placed.kx, 9), high = Math.max(placed.ky, 9);
    for (const [line, colour] of [[5, colours.raised], [2.5, colours.ink]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(x - wide / 2, y - high / 2, wide, high);
    }
  }

  function drawAxes(context, height) {
    const { first, positions, columns } = painted, [from, to] = seen();
    context.fillStyle = colours.soft;
    context.font = `12px ${colours.sans}`;
    drawSections(context, { first: first + from, last: first + to - 1, wide: placed.kx, X: (section) => X(section - first + 0.5), y: height - 9,
      right: GUTTER + placed.width });
    context.textAlign = 'right';
    const fine = placed.ky > 14 || columns >= positions, every = fine ? Math.ceil(14 / placed.ky) : Math.ceil(14 / (columns * placed.ky)) * columns;
    for (let p = fine ? 0 : columns >> 1; p < positions; p += every) {
      const y = Y(p + 0.5);
      if (y > 6 && y < placed.height - 6) context.fillText(fine ? store.spot(p).slice(0, 8) : `row ${/(?:^| )r(\d+)/.exec(store.spot(p))?.[1] ?? Math.floor(p / columns) + 1}`, GUTTER - 10, y);
    }
  }

  function draw() {
    if (view.name !== 'now' && view.name !== 'map') return;
    const fitted = sized(canvas);
    if (!fitted) return;
    const [context, width, height] = fitted;
    if (stale || painted !== store.map) { picture.paint(colours, view.colour); painted = picture.grid; stale = false; }
    placed = fit({ width, height }, painted, whole() ? at : { x: 0, y: 0, zoom: 1 });
    if (whole()) { at.x = placed.x0; at.y = placed.y0; }
    context.imageSmoothingEnabled = false;
    context.fillStyle = colours.raised;
    context.fillRect(GUTTER, 0, placed.width, placed.height);
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, placed.width, placed.height);
    context.clip();
    context.drawImage(picture.canvas, X(0), Y(0), picture.image.width * picture.each * placed.kx, painted.positions * placed.ky);
    drawLines(context);
    drawCells(context);
    drawChosen(context);
    context.restore();
    drawAxes(context, height);
    if (moved) { moved = false; tellUnder(); }
  }

  const redraw = framed(draw);

  function tileAt(event) {
    if (!placed) return -1;
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    if (x < GUTTER || y >= placed.height) return -1;
    return store.at(painted.first + Math.floor((x - GUTTER) / placed.kx + placed.x0), Math.floor(y / placed.ky + placed.y0));
  }

  /** Zooms about a point of the canvas, or about the chosen tile; 0 shows the whole run. */
  function zoom(factor, cx, cy) {
    if (!placed || !whole()) return;
    const i = store.index.get(view.n), about = cx === undefined && i !== undefined;
    const [mx, my] = [GUTTER + placed.width / 2, placed.height / 2];
    const s = about ? store.column.section[i] - painted.first + 0.5 : placed.x0 + ((cx ?? mx) - GUTTER) / placed.kx;
    const p = about ? store.column.position[i] + 0.5 : placed.y0 + (cy ?? my) / placed.ky;
    const deepest = Math.max(DEEPEST, 24 * painted.sections / placed.width);
    at.zoom = factor ? clamp(at.zoom * factor, 1, deepest) : 1;
    const { kx, ky } = fit({ width: placed.width + GUTTER, height: placed.height + FOOT }, painted, at);
    at.x = s - ((cx ?? mx) - GUTTER) / kx;
    at.y = p - (cy ?? my) / ky;
    moved = true;
    redraw();
  }

  function pan(dx, dy) {
    at.x -= dx / placed.kx;
    at.y -= dy / placed.ky;
    moved = true;
    redraw();
  }

  /** Brings the chosen tile onto the screen. */
  function follow() {
    const i = store.index.get(view.n);
    if (i === undefined || !placed || !whole()) return;
    const s = store.column.section[i] - painted.first, p = store.column.position[i], wide = placed.width / placed.kx, high = placed.height / placed.ky;
    if (s < at.x || s > at.x + wide - 1) at.x = s - wide / 2;
    if (p < at.y || p > at.y + high - 1) at.y = p - high / 2;
  }

  function readout(i) {
    const { verdict, blur, defocus } = store.column, code = verdict[i];
    const told = [plain(store.name(i)), WORDS[KEYS[code]], isMeasured(code) && px(blur[i]), Number.isFinite(defocus[i]) && um(defocus[i])];
    say($('#readout'), told.filter(Boolean).join(', '));
  }

  function legend() {
    const codes = view.colour === 'verdict' ? LISTED : LISTED.slice(1);
    const top = `${picture.topOf(view.colour)}`;
    const ends = { blur: ['0 px', `${top} px and more`], score: [`score ${top} and more`, '0'], defocus: ['0 µm', `${top} µm and more`] }[view.colour];
    for (const place of $$('.legend')) {
      place.replaceChildren(...(ends ? [h('span', {}, ends[0], h('i'), ends[1])] : []), ...codes.map((code) => h('span', {}, mark(code), WORDS[KEYS[code]])));
    }
    for (const button of $$('#colour button')) {
      button.setAttribute('aria-pressed', String(button.dataset.k === view.colour));
      if (button.dataset.k === 'defocus') button.disabled = !store.calibrated;
    }
  }

  const tellUnder = listen(canvas, { store, view, tileAt, zoom, readout, pan });
  for (const kind of ['focus', 'blur']) canvas.addEventListener(kind, redraw);
  $('#colour').replaceChildren(...COLOURS.map((k) => h('button', {
    'data-k': k, title: k === 'defocus' ? 'Needs a calibration: mhfd calibrate' : undefined, onclick: () => view.set({ colour: k }),
  }, k)));

  const afresh = () => { stale = true; legend(); redraw(); };
  store.on('run', afresh);
  store.on('tiles', () => { if (!picture.repaint(store.changed)) stale = true; redraw(); });
  store.on('decisions limit', redraw);
  view.on('look', afresh);
  view.on('line', redraw);
  view.on('route', () => {
    follow();
    const i = store.index.get(view.n);
    if (view.name === 'map' && i !== undefined) readout(i); else say($('#readout'), '');
    redraw();
  });
  view.on('theme', () => { colours = palette(); afresh(); });
  window.addEventListener('resize', redraw);
}
