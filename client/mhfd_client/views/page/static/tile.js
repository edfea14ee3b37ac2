// The view Tile: the worst place of a tile beside the same place in the last good section, and all that is known of it.

import { $, bdi, framed, h, say } from './dom.js';
import { cutAt, sentences, within } from './facts.js';
import { drawHistory } from './history.js';
import { askJson } from './live.js';
import { inkOn, mark, palette, step } from './marks.js';
import { cropUrl, hasPicture, picture, small } from './pictures.js';
import { walk } from './walk.js';
import { KEYS, WORDS, clock, count, isMeasured, plain, px, um } from './words.js';

const RAMP_PX = 3.4, AROUND = 3;

export function makeTile({ store, view, decisions, facts }) {
  let shown = null;                                             // {i, known, other, place}

  /** Draws one of the two pictures; `frame` says what part of the tile is shown, and where. */
  function draw(canvas, image, frame, features, box) {
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext('2d');
    if (!image) { context.setTransform(scale, 0, 0, scale, 0, 0); hollow(context, width, height); return; }
    const { k } = frame, w = frame.w * k, high = frame.h * k, left = Math.round((width - w) / 2), top = Math.round((height - high) / 2);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, left, top, w, high);
    context.beginPath();
    context.rect(left, top, w, high);
    context.clip();
    for (const [x, y, t] of features ?? []) ring(context, left + (x - frame.x) * k, top + (y - frame.y) * k, Math.max(1.5, Math.SQRT2 * t * k));
    if (box) outline(context, left + box.x * k, top + box.y * k, box.w * k, box.h * k);
  }

  function hollow(context, width, height) {
    context.strokeStyle = palette().soft;
    context.setLineDash([4, 3]);
    context.strokeRect(1, 1, width - 2, height - 2);
  }

  function twice(context, stroke, thin = false) {               // yellow on black is seen on any grey; small rings would hide it
    for (const [colour, width] of thin ? [['#ffd400', 1]] : [['#000', 3.4], ['#ffd400', 1.6]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      stroke();
    }
  }
  const ring = (context, x, y, radius) => twice(context, () => { context.beginPath(); context.arc(x, y, radius, 0, 7); context.stroke(); }, radius < 4);
  const outline = (context, x, y, w, high) => twice(context, () => context.strokeRect(x, y, w, high));

  function blockOf(known) {
    if (!known.worst_block || !known.blur_map_px) return null;
    const [r, c] = known.worst_block, h1 = known.shape[0] / known.blur_map_px.length, w1 = known.shape[1] / known.blur_map_px[0].length;
    return { x: c * w1, y: r * h1, w: w1, h: h1 };
  }

  /** What of a tile is shown: the cut at 1:1, or all of it scaled. */
  function frameOf(known, canvas) {
    if (view.one) return { ...cutAt(known, canvas.clientWidth, canvas.clientHeight), k: 1 };
    const [rows, cols] = known.shape;
    return { x: 0, y: 0, w: cols, h: rows, k: Math.min(canvas.clientWidth / cols, canvas.clientHeight / rows, 1) };
  }

  function imageOf(n, frame, grey) {
    if (view.one) return picture(cropUrl(n, frame, grey));
    const longest = Math.max(frame.w, frame.h) * frame.k * (window.devicePixelRatio || 1);
    return picture(`img/${n}/whole.png?px=${Math.min(1024, Math.max(256, Math.round(longest)))}&grey=${grey}`);
  }

  async function featuresOf(n, frame) {
    if (!view.features) return [];
    const part = ['x', 'y', 'w', 'h'].map((key) => `${key}=${Math.floor(frame[key])}`).join('&');
    const found = await askJson(`api/tile/${n}/features?${part}`);
    return found.features ?? found;
  }

  async function pictures() {
    const mine = shown, { i, known, other } = mine, n = store.column.n[i], here = $('#this'), there = $('#reference');
    const stale = () => shown !== mine;
    if (!known.shape || !hasPicture(store.column.verdict[i])) { draw(here, null); draw(there, null); captions(null); return; }
    const frame = frameOf(known, here), key = [n, other, view.one, view.features, view.blink, here.clientWidth, here.clientHeight].join();
    mine.key = key;
    captions(frame);
    const get = async (tile) => [await imageOf(tile, frame, n), await featuresOf(tile, frame).catch(() => [])];
    const [own, reference] = await Promise.all([get(n), other < 0 ? null : get(store.column.n[other])].map((one) => Promise.resolve(one).catch(() => null)));
    if (stale() || mine.key !== key) return;
    const box = view.one ? null : blockOf(known), swap = view.blink && reference ? reference : own;
    draw(here, swap?.[0], frame, swap?.[1], box);
    draw(there, reference?.[0], frame, reference?.[1], null);
  }

  function captions(frame) {
    const { i, known, other } = shown, [r, c] = known.worst_block ?? [];
    const where = !view.one ? 'whole tile' : r === undefined ? 'its middle' : `block ${r + 1}, ${c + 1}, the worst`;
    const beside = other < 0 ? '' : `section ${store.column.section[other]}`;
    say($('#this-caption'), !frame ? 'No picture' : view.blink && beside ? `Same place, ${beside}: blink` : `This tile, ${where}`);
    say($('#reference-caption'), beside ? `Same place, ${beside}, the last in focus (${px(store.column.blur[other])})` : 'No section before this one is in focus here');
    $('#this').setAttribute('aria-label', `${plain(store.name(view.blink && other >= 0 ? other : i))}, ${where}`);
    $('#reference').setAttribute('aria-label', beside ? `${beside}, same place` : 'none');
    say($('#scale-note'), !frame ? '' : view.one ? 'one tile pixel to a screen pixel, never smoothed; both with the same grey limits'
      : `shown at ${Math.round(frame.k * 100)} %${frame.k < 1 ? ': too small to judge blur, press Z' : ''}`);
    for (const [id, pressed] of [['one', view.one], ['features', view.features], ['blink', view.blink]]) $(`#${id}`).setAttribute('aria-pressed', String(pressed));
  }

  function blurMap(known) {
    const rows = known.blur_map_px ?? [], colours = palette(), [wr, wc] = known.worst_block ?? [];
    $('.blurmap').hidden = !rows.length;
    $('.blurmap tbody').replaceChildren(...rows.map((row, r) => h('tr', {}, ...row.map((value, c) => {
      const told = h('td', { className: r === wr && c === wc ? 'worst' : '' }, value === null ? '–' : value.toFixed(1));
      if (value !== null) {
        const rgb = colours.ramp[step(value / RAMP_PX)];
        told.style.backgroundColor = `rgb(${rgb})`;
        told.style.color = inkOn(rgb);
      }
      return told;
    }))));
  }

  function numbers(i, known) {
    const code = store.column.verdict[i], blur = known.blur_px, nm = known.pixel_nm ?? store.nm, some = (value) => value !== null && value !== undefined;
    const decided = store.decisions.get(known.n), pairs = [];
    const put = (word, value) => { if (some(value) && value !== '') pairs.push(h('dt', {}, word), h('dd', {}, value)); };
    put('Blur', !isMeasured(code) && !some(blur) ? 'none' : `${blur?.toFixed(2) ?? '–'}${some(known.blur_error_px) ? ` ± ${known.blur_error_px.toFixed(2)}` : ''} px${nm && some(blur) ? `, ${(blur * nm).toFixed(1)} nm` : ''}`);
    if (known.blur_by_direction_px) put('0°, 45°, 90°, 135°', `${known.blur_by_direction_px.map((each) => each?.toFixed(2) ?? '–').join(', ')} px`);
    put('Flagged up to', some(known.flag_px) ? `a threshold of ${px(known.flag_px)}` : null);
    put('Focus score', known.focus_score?.toFixed(2));
    put('Features', some(known.features) ? `${count(known.features)}${some(known.usual?.features) ? ` (usual here ${count(known.usual.features)})` : ''}` : null);
    put('Content', some(known.content) ? `${Math.round(100 * known.content)} %` : null);
    put('Noise', known.noise?.toFixed(3));
    put('Confidence', known.confidence?.toFixed(2));
    put('Reference', known.reference ? plain(typeof known.reference === 'string' ? known.reference : known.reference.text ?? known.reference.name ?? '') : null);
    put('Defocus', some(known.defocus_um) ? um(known.defocus_um) : 'not calibrated');
    put('Stage x, y', known.stage_mm ? `${known.stage_mm.map((each) => each.toFixed(3)).join(', ')} mm` : null);
    put('Scored', known.time_s ? clock(known.time_s) : null);
    put('File', known.name ? bdi(known.name) : null);
    put('Decision', decided ? h('span', {}, `${decided.what}, `, bdi(decided.by ?? 'nobody'), ` ${clock(decided.at)}${decided.sent ? '' : ', not sent'}`) : 'open');
    $('.numbers').replaceChildren(...pairs);
    const remarks = [...(known.remarks ?? []).map(plain), ...sentences(known)[1]];
    $('.remarks').replaceChildren(h('h2', {}, 'Remarks'), ...(remarks.length ? remarks : ['None.']).map((text) => h('p', { className: 'soft small' }, text)));
  }

  function around(i, known) {
    const { section, position, n, verdict } = store.column, found = [];
    for (let d = -AROUND; d <= AROUND; d++) { const other = store.at(section[i] + d, position[i]); if (other >= 0) found.push(other); }
    const block = known.shape ? cutAt(known, 64, 64) : null;
    $('.near').replaceChildren(...found.map((other) => h('a', {
      href: `#/tile/${n[other]}`, 'aria-current': other === i && 'true',
      'aria-label': `Section ${section[other]}: ${WORDS[KEYS[verdict[other]]]}`,
    }, h('span', { className: 'frame' }, block && hasPicture(verdict[other])
      ? small(cropUrl(n[other], within(block.x + block.w / 2, block.y + block.h / 2, 80, 80, ...known.shape), hasPicture(verdict[i]) ? n[i] : n[other])) : null),
    h('span', {}, mark(verdict[other]), ` ${section[other]}`))));
  }

  function head(i) {
    const code = store.column.verdict[i];
    $('#name').replaceChildren(mark(code, WORDS[KEYS[code]]), plain(store.name(i)));
    $('#tile-decide').replaceChildren(...decisions.buttons(i),
      h('button', { onclick: () => walk(store, view, -1), 'aria-keyshortcuts': 'K' }, 'Previous', h('kbd', { 'aria-hidden': 'true' }, 'K')),
      h('button', { onclick: () => walk(store, view, 1), 'aria-keyshortcuts': 'J' }, 'Next', h('kbd', { 'aria-hidden': 'true' }, 'J')));
  }

  function nothing(text) {
    shown = null;
    say($('#name'), 'No tile');
    say($('#sentence'), text);
    $('#tile-decide').replaceChildren();
    document.body.classList.add('no-tile');
  }

  const render = framed(async () => {
    if (view.name !== 'tile') return;
    if (view.n === null && store.newest.length) {
      const bad = store.flagged();
      view.n = store.column.n[bad.length ? bad[bad.length - 1] : store.newest[store.newest.length - 1]];
    }
    const i = store.index.get(view.n), n = view.n;
    if (i === undefined) { nothing(store.hello ? 'There is no such tile yet.' : ''); return; }
    document.body.classList.remove('no-tile');
    head(i);
    try {
      const known = await facts.of(n);
      if (view.n !== n || view.name !== 'tile') return;
      shown = { i, known, other: store.goodBefore(i) };
      say($('#sentence'), sentences(known)[0]);
      numbers(i, known);
      blurMap(known);
      around(i, known);
      drawHistory(store, i);
      await pictures();
    } catch (error) {
      if (view.n === n) say($('#sentence'), error.status ? error.message : 'What the server knows of this tile cannot be fetched now.');
    }
  });

  const again = framed(() => { if (view.name === 'tile' && shown) pictures(); });
  let last = '';
  store.on('tiles', () => {                                     // other tiles do not disturb this one
    const i = store.index.get(view.n), key = i === undefined ? '' : `${view.n} ${store.column.verdict[i]} ${store.column.blur[i]}`;
    if (key !== last) { last = key; render(); }
  });
  store.on('run decisions limit', render);
  view.on('route theme', render);
  view.on('look', again);
  window.addEventListener('resize', render);
}
