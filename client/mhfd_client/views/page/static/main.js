// The live page: makes its parts, and connects them to the server.

import { makeChart } from './chart.js';
import { Decisions } from './decisions.js';
import { $, $$ } from './dom.js';
import { Facts } from './facts.js';
import { makeHealth } from './health.js';
import { makeKeys } from './keys.js';
import { Live, post } from './live.js';
import { makeMap } from './map.js';
import { makeNow } from './now.js';
import { makeRetakes } from './retakes.js';
import { makeSide } from './side.js';
import { Store } from './store.js';
import { makeTheme } from './theme.js';
import { makeTile } from './tile.js';
import { View } from './view.js';
import { plain } from './words.js';

const store = new Store(), view = new View();
const keep = (name) => (data) => { store[name] = data; store.tell(name); };
const live = new Live(store, {
  hello: (hello) => { decisions.forget(); store.meet(hello); },
  tiles: ({ rows }) => store.update(rows),
  alarm: (alarm) => { store.alarms.set(alarm.id, alarm); store.tell('alarms'); },
  decision: (one) => decisions.hear(one),
  counts: keep('counts'), state: keep('state'), limit: keep('limit'), health: keep('health'),
});
const decisions = new Decisions(store, live);

function hold() {
  live.hold(!live.held);
  $('#hold').setAttribute('aria-pressed', String(live.held));
}

function route() {
  $('main').dataset.view = view.name;
  for (const link of $$('nav a')) {
    if (link.hash === `#/${view.name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

const page = { store, view, live, decisions, facts: new Facts(store), hold };
view.on('route', route);
for (const make of [makeNow, makeChart, makeMap, makeSide, makeTile, makeRetakes, makeHealth, makeKeys, makeTheme]) make(page);
$('#hold').addEventListener('click', hold);
store.on('run', () => {
  $('#run').textContent = plain(store.hello?.run ?? '');
  $('#readonly').hidden = !store.hello?.readonly;
});

/** A token comes once in the fragment, and goes into a cookie that no script can read. */
async function enter() {
  const token = /^#token=(.+)$/.exec(window.location.hash);
  if (token) {
    window.history.replaceState(null, '', '#/now');
    await post('api/token', { token: token[1] }).catch((error) => { live.trouble = error; });
  }
  view.read();
  live.run();
}
enter();
