// The map under mouse, fingers and keys.

import { $$ } from './dom.js';

/** Connects the canvas to what moves the map; what it gives tells of the tile under a mouse that stays while the map moves. */
export function listen(canvas, { store, view, tileAt, zoom, readout, pan }) {
  const fingers = new Map();
  let start = null, over = null;
  const tell = () => { const i = over ? tileAt(over) : -1; if (i >= 0) readout(i); };
  canvas.addEventListener('wheel', (event) => {
    if (view.name !== 'map') return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 16 : 1) / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener('pointerdown', (event) => {
    fingers.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
    start = event;
  });
  canvas.addEventListener('pointermove', (event) => {
    const before = fingers.get(event.pointerId);
    over = event;
    if (!before) { tell(); return; }
    fingers.set(event.pointerId, event);
    if (view.name !== 'map') return;
    const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
    if (other) {
      const gap = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoom(gap(event) / Math.max(1, gap(before)), event.offsetX, event.offsetY);
    } else {
      pan(event.clientX - before.clientX, event.clientY - before.clientY);
    }
  });
  canvas.addEventListener('pointerleave', () => { over = null; });
  canvas.addEventListener('pointerup', (event) => {
    fingers.delete(event.pointerId);
    const i = tileAt(event);
    if (i < 0 || !start || Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > 4) return;
    const n = store.column.n[i];
    if (view.name === 'now' || n === view.n) view.go('tile', n);
    else view.choose(n);
  });
  canvas.addEventListener('pointercancel', (event) => fingers.delete(event.pointerId));
  canvas.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith('Arrow')) { const i = beside(store, view, event.key); if (i >= 0) { view.choose(store.column.n[i]); readout(i); } }
    else if (event.key === 'Enter') { if (view.n !== null) view.go('tile'); }
    else if (event.key === '+' || event.key === '=') zoom(2);
    else if (event.key === '-') zoom(0.5);
    else if (event.key === '0') zoom(0);
    else return;
    event.preventDefault();
  });
  for (const button of $$('[data-zoom]')) button.addEventListener('click', () => zoom(Number(button.dataset.zoom)));
  return tell;
}

/** The next tile in an arrow's direction; over gaps. */
function beside(store, view, key) {
  const i = store.index.get(view.n), { section, position } = store.column;
  if (i === undefined) return store.newest.length ? store.newest[store.newest.length - 1] : -1;
  const [ds, dp] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  for (let s = section[i] + ds, p = position[i] + dp, k = 0; k < 50; s += ds, p += dp, k++) {
    const found = store.at(s, p);
    if (found >= 0) return found;
  }
  return i;
}
