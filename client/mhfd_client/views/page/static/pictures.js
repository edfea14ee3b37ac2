// Pictures of tiles. One pixel of a tile is one of the page, never smoothed.

import { h } from './dom.js';
import { CODE } from './words.js';

const SIZES = [40, 80, 112], KEPT = 48, AT_ONCE = 4;
const NONE = new Set([CODE.later, CODE.todo, CODE.missing, CODE.failed]);
const pictures = new Map();

/** Whether there is a picture of a tile with this verdict. */
export const hasPicture = (code) => !NONE.has(code);

/** A picture by its address, ready to be drawn; the last ones are kept. */
export async function picture(url) {
  const known = pictures.get(url);
  if (known) { pictures.delete(url); pictures.set(url, known); return known; }
  const made = new Image();
  made.src = url;
  await made.decode();
  pictures.set(url, made);
  if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  return made;
}

/** The address of a tile's crop; `grey` is the tile whose grey limits it takes. */
export const cropUrl = (n, { x, y, w, h: height }, grey = n) =>
  `img/${n}/crop.png?at=${x},${y}&w=${w}&h=${height}&grey=${grey}`;

const waiting = [];
let flying = 0;

/** Fetches small pictures a few at a time, so that a large one need not wait; those no longer shown are left out. */
function next() {
  while (flying < AT_ONCE && waiting.length) {
    const [image, url] = waiting.shift();
    if (!image.isConnected) continue;
    flying++;
    image.src = url;
  }
}

/** An element for a small picture, cut to its frame; a server with too much to do is asked again. */
export function small(url) {
  const made = h('img', { alt: '', decoding: 'async', draggable: 'false' });
  let tries = 0;
  const ask = () => { waiting.push([made, url]); setTimeout(next); };
  made.onload = () => { flying--; made.classList.add('there'); next(); };
  made.onerror = () => { flying--; if (++tries < 4) setTimeout(ask, 700 * tries); next(); };
  ask();
  return made;
}

/** The worst block of a tile in miniature, for a frame of `width` pixels. */
export const thumb = (n, width) => small(`img/${n}/thumb.png?px=${SIZES.find((size) => size >= width - 1) ?? 112}`);
