// Shapes and colours of the verdicts: each verdict has a shape of its own, so that none is told by its hue alone.

import { h } from './dom.js';
import { CODE, KEYS, clamp } from './words.js';

const SHAPES = {                                                // in a box of 16 x 16
  later: '',
  todo: 'M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z',          // open ring
  in_focus: 'M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z',      // dot
  out_of_focus: 'M8 1.5 15 14H1z',                              // triangle
  astigmatic: 'M2.5 13.5A7.78 3.9 -45 1 1 13.5 2.5 7.78 3.9 -45 1 1 2.5 13.5z', // slanted ellipse
  no_content: 'M2 6.75h12v2.5H2z',                              // bar
  cannot_tell: 'M8 1.5 14.5 8 8 14.5 1.5 8z',                   // diamond
  failed: 'M3 3l10 10M13 3 3 13',                               // cross
  missing: 'M2.5 2.5h11v11h-11z',                               // dashed square
};
const DRAWN = KEYS.map((key) => SHAPES[key]);
const OUTLINES = new Set([CODE.todo, CODE.failed, CODE.missing]);
const WIDTH = { [CODE.todo]: 1.8, [CODE.failed]: 2.6, [CODE.missing]: 1.6 };

/** The mark of a verdict as an element; with a label it is read out. */
export function mark(code, label) {
  return h('svg', { class: 'mark', viewBox: '0 0 16 16', 'data-v': KEYS[code], role: label && 'img', 'aria-label': label,
    'aria-hidden': label ? undefined : 'true' }, h('path', { d: DRAWN[code] }));
}

/** Draws a mark of `size` pixels about (x, y). */
export function drawMark(context, code, x, y, size, fill, edge) {
  const shape = (drawMark.paths[code] ??= new Path2D(DRAWN[code]));
  context.save();
  context.translate(x - size / 2, y - size / 2);
  context.scale(size / 16, size / 16);
  context.fillStyle = context.strokeStyle = fill;
  if (OUTLINES.has(code)) {
    context.lineWidth = WIDTH[code];
    if (code === CODE.missing) context.setLineDash([2.75, 2]);
    context.stroke(shape);
  } else {
    context.fill(shape);
    if (edge) { context.strokeStyle = edge; context.lineWidth = 1.3; context.stroke(shape); }
  }
  context.restore();
}
drawMark.paths = [];

/** A stem from a tile's blur, at `y`, to the threshold up to which it is flagged, at `to`; none where the two agree. */
export function drawStem(context, x, y, to, colour) {
  if (!(Math.abs(to - y) > 8)) return;                          // also where the threshold is not known
  context.globalAlpha = 0.6;
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x, to);
  context.moveTo(x - 3, to);
  context.lineTo(x + 3, to);
  context.stroke();
  context.globalAlpha = 1;
}

/** The colours of the theme in use, as the style sheet gives them; read anew when the theme changes. */
export function palette() {
  const style = getComputedStyle(document.documentElement), get = (name) => style.getPropertyValue(`--${name}`).trim();
  const ramp = [0, 1, 2, 3].map((i) => bytes(get(`ramp${i}`)));
  return {
    ...Object.fromEntries(['ground', 'raised', 'line', 'ink', 'soft', 'band', 'edge'].map((name) => [name, get(name)])),
    marks: KEYS.map((key) => get(key)),
    cells: KEYS.map((key) => bytes(get(`field-${key}`) || get(key))),
    ramp: Array.from({ length: 64 }, (_, i) => between(ramp, i / 63)),
    sans: getComputedStyle(document.body).fontFamily,
  };
}

/** The place of a share 0..1 on the ramp of 64 colours. */
export const step = (share) => clamp(Math.round(share * 63), 0, 63);

/** "#3583c4" -> [53, 131, 196]; null for none. */
function bytes(hex) {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(hex);
  return found && found.slice(1).map((part) => parseInt(part, 16));
}

function between(stops, share) {
  const place = clamp(share, 0, 0.9999) * (stops.length - 1), i = Math.floor(place);
  return stops[i].map((value, k) => Math.round(value + (stops[i + 1][k] - value) * (place - i)));
}

/** Black or white, whichever is read better on a colour. */
export function inkOn(rgb) {
  const [r, g, b] = rgb.map((value) => ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? '#000' : '#fff';
}
