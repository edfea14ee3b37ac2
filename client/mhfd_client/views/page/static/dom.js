// Elements. Text enters the page as text nodes only; styles are set by property, never by attribute.

import { plain } from './words.js';

export const $ = (query, within = document) => within.querySelector(query);
export const $$ = (query, within = document) => [...within.querySelectorAll(query)];

const SVG = new Set(['svg', 'path']);

/** An element: attributes by name, functions and `className` as properties; null, undefined and false are left out. */
export function h(tag, props = {}, ...kids) {
  const made = SVG.has(tag) ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function' || key === 'className') made[key] = value;
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...kids.filter((kid) => kid !== undefined && kid !== null && kid !== false));
  return made;
}

/** A stranger's text: kept apart from the direction of what stands around it. */
export const bdi = (text) => h('bdi', {}, plain(text));

/** Sets a text only where it changes: what did not change is not read out again, nor laid out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Calls `work` once in the next frame, however often it is asked for before. */
export function framed(work) {
  let asked = 0;
  return () => {
    if (asked) return;
    asked = requestAnimationFrame(() => { asked = 0; work(); });
  };
}

/** Calls `work` once within 60 ms, however often it is asked for before; also while the page is not looked at. */
export function soon(work) {
  let asked = 0;
  return () => { asked ||= setTimeout(() => { asked = 0; work(); }, 60); };
}

/** Calls `work` when nobody has asked for `wait` milliseconds. */
export function settled(work, wait) {
  let timer = 0;
  return (...args) => { clearTimeout(timer); timer = setTimeout(() => work(...args), wait); };
}

/** Fits a canvas's pixels to its size on the screen: [context in CSS pixels, width, height], or null while hidden. */
export function sized(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
  if (!width || !height) return null;
  const w = Math.round(width * scale), hgt = Math.round(height * scale);
  if (canvas.width !== w || canvas.height !== hgt) { canvas.width = w; canvas.height = hgt; }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}
