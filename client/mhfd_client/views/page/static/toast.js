// One line about what was just done, with its undo.

import { $, h } from './dom.js';

const undone = [];
let timer = 0;

/** Shows `parts` for 8 s; `undo` takes back what was done, and stays within reach of U. */
export function toast(parts, undo) {
  if (undo) undone.push(undo);
  const place = $('#toast');
  place.replaceChildren(h('span', {}, ...[parts].flat()),
    undo ? h('button', { onclick: () => takeBack(undo) }, 'Undo ', h('kbd', { 'aria-hidden': 'true' }, 'U')) : '');
  place.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { place.hidden = true; }, 8000);
}

/** Takes back the last thing done, or the one given. */
export function takeBack(undo = undone[undone.length - 1]) {
  if (!undo) return;
  undone.splice(undone.lastIndexOf(undo), 1);
  $('#toast').hidden = true;
  undo();
}
