// Single-letter keys, and the help that lists them. None acts while typing, or with Ctrl, Alt or Cmd.

import { $, $$, h } from './dom.js';
import { takeBack } from './toast.js';
import { walk } from './walk.js';

const LISTED = [
  ['1 2 3 4', 'Now, Map, Tile, Retakes'], ['J K', 'next, previous flagged tile'], ['R', 'retake'], ['A', 'accept: good enough'],
  ['I', 'ignore: not wanted'], ['U', 'undo'], ['B', 'blink with the good neighbour'], ['Z', '1:1 or the whole tile'], ['F', 'features'],
  ['T', 'to the threshold; then arrows, Enter, Esc'], ['P', 'hold the page still'], ['+ − 0', 'zoom the map, fit'],
  ['Arrows', 'choose a tile on the map; Enter opens'], ['?', 'this help'],
];

export function makeKeys({ store, view, decisions, hold }) {
  const help = $('#help-box');
  const turn = (key) => () => view.set({ [key]: !view[key] });
  const decide = (what) => () => { const i = store.index.get(view.n); if (i !== undefined) decisions.decide(i, what); };
  const threshold = () => { view.go('now'); setTimeout(() => $('#line').focus(), 60); };
  const everywhere = {
    1: () => view.go('now'), 2: () => view.go('map'), 3: () => view.go('tile'), 4: () => view.go('retakes'),
    j: () => walk(store, view, 1), k: () => walk(store, view, -1), u: () => takeBack(), t: threshold, p: hold, '?': () => help.showModal(),
  };
  const decisive = { r: decide('retake'), a: decide('accept'), i: decide('ignore') };
  const inView = {
    now: {}, map: decisive, retakes: decisive,
    tile: { ...decisive, b: turn('blink'), z: turn('one'), f: turn('features') },
  };

  window.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !$('#keys-on').checked) return;
    if ($('dialog[open]') || event.target.closest?.('input:not([type=checkbox]), select, textarea')) return;
    const key = event.key.toLowerCase(), work = everywhere[key] ?? inView[view.name][key];
    if (work) { event.preventDefault(); work(); }
    else if (event.key === 'Enter' && view.name === 'retakes' && event.target === document.body && view.n !== null) view.go('tile');
  });
  for (const button of $$('[data-key]')) button.addEventListener('click', inView.tile[button.dataset.key]);
  $('.keys').replaceChildren(...LISTED.flatMap(([keys, words]) =>
    [h('dt', {}, ...keys.split(' ').flatMap((one) => [h('kbd', {}, one), ' '])), h('dd', {}, words)]));
  $('#help').addEventListener('click', () => help.showModal());
}
