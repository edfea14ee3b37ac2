// The health line, the clock, and the band that says what is wrong with the line or the endpoint.

import { $, bdi, h, say } from './dom.js';
import { clock, count, day, plain, span } from './words.js';

const SOON_H = 2, FAR_H = 240;                                 // until the disk is full

export function makeHealth({ store, live }) {
  const seconds = (at) => (at ? (Date.now() - (typeof at === 'number' ? at * 1000 : Date.parse(at))) / 1000 : NaN);

  function rows() {
    const lost = live.state === 'lost', known = store.health, away = known?.endpoint && known.endpoint.ok === false, old = seconds(known?.last_tile);
    const not = (value) => (lost ? 'not known' : value);
    const endpoint = !known?.endpoint ? '–' : h('span', {}, bdi(known.endpoint.name ?? 'endpoint'), away ? ` away since ${clock(known.endpoint.since)}` : known?.queue?.workers_awaited ? ' has no workers yet' : known.endpoint.ok ? ' ready' : ', not watched');
    return [
      ['Page', lost ? 'connection lost' : live.held ? 'held' : live.state === 'live' ? 'live' : 'connecting', lost],
      ['Endpoint', not(endpoint), !lost && away],
      ['Queue', not(!known?.queue ? '–' : known.queue.tiles ? `${count(known.queue.tiles)} tiles${Number.isFinite(known.queue.s) ? `, ${span(known.queue.s)}` : ''}` : 'none'), !lost && away],
      ['Last tile', !known?.last_tile ? 'none' : old < 5400 && !lost ? `${span(old)} ago` : old < 43200 ? clock(known.last_tile) : day(known.last_tile)],
      ['Rate', lost || !known?.rate_per_min ? '–' : `${count(known.rate_per_min)} a minute`],
      known?.disk ? ['Disk', not(`${count(known.disk.free_gb)} GB${known.disk.hours !== null && known.disk.hours < FAR_H ? `, ${count(known.disk.hours)} h` : ''}`), !lost && known.disk.hours !== null && known.disk.hours < SOON_H] : null,
      known?.signin_until ? ['Sign-in', not(`until ${day(known.signin_until)}`), !lost && seconds(known.signin_until) > -3600] : null,
    ].filter(Boolean);
  }

  function render() {
    const place = $('#health'), all = rows();
    if (place.children.length !== all.length) place.replaceChildren(...all.map(() => h('div', {}, h('dt'), h('dd'))));
    all.forEach(([word, value, warn], k) => {
      const { children: [dt, dd] } = place.children[k], text = typeof value === 'string' ? value : value.textContent;
      say(dt, word);
      if (dd.textContent !== text) dd.replaceChildren(value);
      place.children[k].classList.toggle('warn', Boolean(warn));
    });
    say($('#clock'), clock(Date.now() / 1000));
    band();
  }

  function band() {
    const place = $('#banner'), known = store.health, away = known?.endpoint?.ok === false;
    let text = '';
    if (live.state === 'lost') {
      const wait = Math.max(0, Math.round((live.retryAt - Date.now()) / 1000)), since = live.since ? ` at ${clock(live.since / 1000)}` : '';
      text = live.trouble?.status ? `${plain(live.trouble.message)} Trying again in ${wait} s.`
        : `Connection lost${since}. Trying again in ${wait} s${store.readonly ? '' : '; decisions wait until then'}.`;
    } else if (away) {
      text = `The endpoint ${plain(known.endpoint.name ?? '')} does not answer since ${clock(known.endpoint.since)}. ${count(known.queue?.tiles ?? 0)} tiles wait and will be scored in order; nothing is lost.`;
    } else if (known?.queue?.workers_awaited) {
      text = `The endpoint ${plain(known.endpoint?.name ?? '')} has no workers yet: queued since ${clock(known.queue.workers_awaited)}, ${count(known.queue.tiles)} tiles wait and will be scored in order; nothing is lost.`;
    }
    place.hidden = !text;
    $('button', place).hidden = live.state !== 'lost';
    say($('span', place), text);
  }

  $('#banner button').addEventListener('click', () => live.tryNow?.());
  store.on('health run', render);
  live.addEventListener('line', render);
  setInterval(render, 1000);
  render();
}
