// From one tile that asks for a look to the next.

/** Goes to the next (+1) or previous (-1) one; on Now to the newest that is to be taken again. */
export function walk(store, view, by) {
  const { n } = store.column, listed = store.listed();
  if (view.name === 'now') {
    const due = listed.filter((i) => store.isDue(i));
    if (due.length) view.go('tile', n[due.reduce((newest, i) => (n[i] > n[newest] ? i : newest))]);
    return;
  }
  const wanted = view.name === 'retakes' && view.onlyOpen ? listed.filter((i) => store.stateOf(i) === 'open') : listed;
  if (!wanted.length) return;
  const here = wanted.findIndex((i) => n[i] === view.n);
  const to = here < 0 ? beside(store, wanted, view.n, by) : Math.min(Math.max(here + by, 0), wanted.length - 1);
  view.choose(n[wanted[to]]);
}

/** The nearest listed tile after (or before) one that is not listed. */
function beside(store, wanted, n, by) {
  const i = store.index.get(n), { section, position } = store.column;
  if (i === undefined) return by > 0 ? 0 : wanted.length - 1;
  const after = wanted.findIndex((other) => section[other] > section[i] || (section[other] === section[i] && position[other] > position[i]));
  if (after < 0) return wanted.length - 1;
  return by > 0 ? after : Math.max(after - 1, 0);
}
