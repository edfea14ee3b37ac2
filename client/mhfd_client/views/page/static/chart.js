// The strip chart: blur or score in the order of acquisition, on the map's axis, with the threshold as a line to drag.

import { GUTTER, drawSections } from './axis.js';
import { $, $$, framed, say, sized } from './dom.js';
import { drawMark, drawStem, palette } from './marks.js';
import { preview } from './preview.js';
import { CODE, clamp, clock, effect, isBad, isMeasured, px } from './words.js';

const TOP = 30, FOOT = 22, LEAST_PX = 0.2;
const EVENT_MARKS = { refocus: CODE.in_focus, missing: CODE.missing, drift: CODE.out_of_focus };
const EVENT_WORDS = { drift: 'Blur rising', many: 'Many flagged', missing: 'Missing', refocus: 'Refocused',
  endpoint: 'Endpoint', signin: 'Sign-in' };

/** Lowest twentieth, median and highest twentieth of numbers; null of fewer than 3. */
function spread(values) {
  if (values.length < 3) return null;
  const sorted = Float32Array.from(values).sort(), last = sorted.length - 1;
  return [sorted[Math.floor(last * 0.05)], sorted[sorted.length >> 1], sorted[Math.floor(last * 0.95)]];
}

export function makeChart({ store, view, decisions }) {
  const canvas = $('.chart canvas'), handle = $('#line');
  let spreads = [], known = null, size = null, hits = [], dragging = false;

  const valueOf = (i) => store.column[view.measure][i];

  /** The spread of each section, made anew only where tiles changed. */
  function sections() {
    const grid = store.map, { verdict } = store.column, what = view.measure;
    if (known?.grid !== grid || known.what !== what) { spreads = new Array(grid.sections); known = { grid, what }; }
    for (let s = 0; s < grid.sections; s++) {
      if (spreads[s] !== undefined) continue;
      const found = [];
      for (let p = 0, at = s * grid.positions; p < grid.positions; p++) {
        const i = grid.cell[at + p];
        if (i >= 0 && isMeasured(verdict[i]) && valueOf(i) === valueOf(i)) found.push(valueOf(i));
      }
      spreads[s] = spread(found);
    }
    return spreads;
  }

  function top() {
    if (view.measure === 'blur') return Math.max(3, Math.ceil(1.5 * (store.maxBlur ?? 0)));
    const highest = Math.max(0, ...sections().filter(Boolean).map((each) => each[2]));
    return highest ? Number((1.15 * highest).toPrecision(1)) || 1 : 1;
  }

  const up = (value) => TOP + (size.height - TOP - FOOT) * (1 - clamp(value / size.top, 0, 1));
  const down = (y) => (1 - (y - TOP) / (size.height - TOP - FOOT)) * size.top;
  const across = (place) => GUTTER + (size.width - GUTTER) * place / store.map.sections;

  function curves(context, colours) {
    const runs = pieces(sections()), x = (s) => across(s + 0.5);
    context.fillStyle = colours.band;
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    for (const [from, to] of runs) {
      context.beginPath();
      for (let s = from; s <= to; s++) context.lineTo(x(s), up(spreads[s][2]));
      for (let s = to; s >= from; s--) context.lineTo(x(s), up(spreads[s][0]));
      context.fill();
    }
    for (const [from, to] of runs) {
      context.beginPath();
      if (from === to) context.moveTo(x(from) - 2, up(spreads[from][1]));
      for (let s = from; s <= to; s++) context.lineTo(x(s), up(spreads[s][1]));
      context.stroke();
    }
  }

  function axes(context, colours) {
    const { width, height } = size, { first, sections: all } = store.map;
    context.font = `12px ${colours.sans}`;
    context.textBaseline = 'middle';
    context.lineWidth = 1;
    const step = size.top > 6 ? Math.ceil(size.top / 4) : size.top > 1.5 ? 1 : size.top / 4;
    for (let value = 0; value <= size.top * 1.001; value += step) {
      const y = Math.round(up(value)) + 0.5;
      context.strokeStyle = colours.line;
      context.beginPath();
      context.moveTo(GUTTER, y);
      context.lineTo(width, y);
      context.stroke();
      context.fillStyle = colours.soft;
      context.textAlign = 'right';
      const covered = view.measure === 'blur' && Math.abs(up(view.line ?? store.maxBlur ?? -9) - y) < 16;
      if (!covered) context.fillText(step >= 1 ? value : Number(value.toPrecision(2)), GUTTER - 10, y);
    }
    drawSections(context, { first, last: first + all - 1, wide: (width - GUTTER) / all, X: (section) => across(section - first + 0.5), y: height - 8, right: width });
  }

  /** Where on the axis something began; the end of a drift is where somebody refocused. */
  function happened() {
    const alarms = [...store.alarms.values()];
    return [
      ...alarms.map(({ n, kind, began }) => ({ i: store.index.get(n), kind, time: began })),
      ...alarms.filter((each) => each.kind === 'drift').map(({ n_end: n, ended }) => ({ i: store.index.get(n), kind: 'refocus', time: ended })),
    ].filter(({ i }) => i !== undefined).sort((a, b) => store.column.section[a.i] - store.column.section[b.i]);
  }

  function events(context, colours) {
    let clear = -Infinity;
    for (const { i, kind, time } of happened()) {
      const x = across(store.column.section[i] - store.map.first + 0.5), word = `${EVENT_WORDS[kind] ?? kind} ${clock(time)}`;
      context.strokeStyle = colours.soft;
      context.lineWidth = 1;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(x, 6);
      context.lineTo(x, size.height - FOOT);
      context.stroke();
      context.setLineDash([]);
      const code = EVENT_MARKS[kind] ?? CODE.out_of_focus, wide = context.measureText(word).width + 26;
      const left = x + wide > size.width;
      drawMark(context, code, left ? x - 12 : x + 12, 11, 12, colours.marks[code]);
      const from = left ? x - wide : x;
      if (size.width > 600 && from > clear) {
        context.fillStyle = colours.ink;
        context.textAlign = left ? 'right' : 'left';
        context.fillText(word, left ? x - 23 : x + 23, 11);
        clear = from + wide;
      }
    }
  }

  function marks(context, colours) {
    const { verdict, section, position, flag } = store.column, { first, positions } = store.map;
    hits = [];
    for (let i = 0; i < store.size; i++) {
      const code = verdict[i];
      if (!isBad(code) && code !== CODE.cannot_tell && !view.near.has(i)) continue;
      if (section[i] === 0xffff) continue;
      const x = clamp(across(section[i] - first + (position[i] + 0.5) / positions), GUTTER + 6, size.width - 6), value = valueOf(i);
      if (code === CODE.cannot_tell && !(value === value)) continue;
      const y = value === value ? up(value) : TOP - 6;
      if (view.measure === 'blur') drawStem(context, x, y, up(flag[i]), colours.marks[isBad(code) ? code : CODE.out_of_focus]);
      if (view.near.has(i)) {
        context.beginPath();
        context.arc(x, y, 2.6, 0, 7);
        context.fillStyle = colours.ground;
        context.fill();
        context.lineWidth = 1.4;
        context.strokeStyle = colours.marks[view.line < store.maxBlur ? CODE.out_of_focus : CODE.in_focus];
        context.stroke();
      } else {
        drawMark(context, code, x, y - 1, 12, colours.marks[code], code === CODE.cannot_tell ? colours.edge : null);
      }
      hits.push([x, y, i]);
    }
    context.fillStyle = colours.soft;
    context.textAlign = 'left';
    hits.forEach(([x, y, i], k) => {                            // those beyond the top say their value, where there is room
      if (!(valueOf(i) > size.top) || x > size.width - 36) return;
      const covered = hits.slice(k + 1, k + 9).some(([other, height]) => other < x + 44 && height < TOP + 8);
      if (!covered) context.fillText(valueOf(i).toFixed(1), x + 10, y);
    });
  }

  function thresholds(context, colours) {
    const used = store.maxBlur;
    if (view.measure !== 'blur' || used === null) return;
    for (const [line, dashed] of view.line === null ? [[used, false]] : [[used, true], [view.line, false]]) {
      context.strokeStyle = dashed ? colours.soft : colours.ink;
      context.lineWidth = dashed ? 1 : 1.5;
      context.setLineDash(dashed ? [4, 4] : []);
      context.beginPath();
      context.moveTo(46, up(line));
      context.lineTo(size.width, up(line));
      context.stroke();
    }
    context.setLineDash([]);
  }

  function draw() {
    if (view.name !== 'now') return;
    const fitted = sized(canvas);
    if (!fitted) return;
    const [context, width, height] = fitted, colours = palette();
    size = { width, height, top: top() };
    axes(context, colours);
    curves(context, colours);
    events(context, colours);
    thresholds(context, colours);
    marks(context, colours);
    if (!sections().some(Boolean)) {
      context.fillStyle = colours.soft;
      context.textAlign = 'center';
      context.fillText(store.size ? 'Blur can be told once there is a reference' : 'No tile yet', (GUTTER + width) / 2, up(0.8 * size.top));
    }
    tellLine();
  }

  function tellLine() {
    const used = store.maxBlur, here = view.measure === 'blur' && used !== null, trying = here && view.line !== null;
    handle.hidden = !here;
    $('#apply').hidden = !trying || store.readonly;
    $('#cancel').hidden = !trying;
    if (!here) { say($('#preview'), ''); return; }
    const line = view.line ?? used, words = trying ? effect(view.change) : 'in use';
    handle.style.transform = `translateY(${up(line) - 14}px)`;
    say(handle.firstElementChild, line.toFixed(2));
    handle.setAttribute('aria-valuenow', line);
    handle.setAttribute('aria-valuemax', size.top);
    handle.setAttribute('aria-valuetext', `${px(line)}, ${words}`);
    say($('#preview'), trying ? `At ${px(line)}: ${words}.` : `Flagged above ${px(used)}. Drag the line to try another.`);
  }

  const redraw = framed(draw);

  /** Tries a threshold: counts what it would change, changes nothing. Null goes back to the one in use. */
  function attempt(value) {
    const used = store.maxBlur;
    if (used === null || !size) return;
    const rounded = value === null ? used : clamp(Math.round(value * 100) / 100, LEAST_PX, size.top);
    const line = rounded === used ? null : rounded;
    const change = line === null ? null : preview(store.column, store.size, used, line);
    view.set({ line, change, near: new Set(change?.indices) }, 'line');
  }

  async function apply() {
    if (view.line === null || store.readonly) return;
    if (await decisions.apply(view.line)) attempt(null);
  }

  const moved = (event) => { if (dragging) attempt(down(event.clientY - canvas.getBoundingClientRect().top)); };
  handle.addEventListener('pointerdown', (event) => {
    dragging = true;
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    event.preventDefault();
  });
  handle.addEventListener('pointermove', moved);
  for (const end of ['pointerup', 'pointercancel']) handle.addEventListener(end, () => { dragging = false; });
  handle.addEventListener('keydown', (event) => {
    const step = { ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) attempt((view.line ?? store.maxBlur) + step);
    else if (event.key === 'Enter') apply();
    else if (event.key === 'Escape') attempt(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  $('#apply').addEventListener('click', apply);
  $('#cancel').addEventListener('click', () => attempt(null));

  const hit = (event) => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, least = 12;
    for (const [hx, hy, i] of hits) {
      const far = Math.hypot(hx - x, hy - y);
      if (far < least) { least = far; best = i; }
    }
    return best;
  };
  canvas.addEventListener('pointermove', (event) => { canvas.style.cursor = hit(event) === null ? '' : 'pointer'; });
  canvas.addEventListener('click', (event) => {
    const i = hit(event);
    if (i !== null) view.go('tile', store.column.n[i]);
  });
  for (const button of $$('#measure button')) {
    button.addEventListener('click', () => view.set({ measure: button.dataset.k }));
  }

  view.on('look', () => {
    for (const button of $$('#measure button')) button.setAttribute('aria-pressed', String(button.dataset.k === view.measure));
    say($('#h-chart'), view.measure === 'blur' ? 'Blur, px' : 'Focus score');
    $('#stem').hidden = view.measure !== 'blur';
  });
  store.on('run', () => { known = null; });
  store.on('tiles', () => {
    for (const i of store.changed) if (known?.grid === store.grid && store.grid) delete spreads[store.column.section[i] - store.grid.first];
    if (view.line !== null) attempt(view.line);
  });
  store.on('limit', () => attempt(view.line));
  store.on('run tiles alarms limit', redraw);
  view.on('route line look', redraw);
  window.addEventListener('resize', redraw);
}

/** The stretches of an array without a gap: [first, last] of each. */
export function pieces(list) {
  const found = [];
  let start = -1;
  for (let s = 0; s <= list.length; s++) {
    if (list[s] && start < 0) start = s;
    if (!list[s] && start >= 0) { found.push([start, s - 1]); start = -1; }
  }
  return found;
}
