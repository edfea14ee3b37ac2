// Who decides: the token's name, or one asked for once and kept in this browser.

import { $ } from './dom.js';

const KEY = 'mhfd.by';
let kept = '';

function read() {
  try { return window.localStorage.getItem(KEY) ?? kept; } catch { return kept; } // storage may be forbidden
}

function keep(name) {
  kept = name;
  try { window.localStorage.setItem(KEY, name); } catch { /* kept until the page closes */ }
}

/** The name to sign with; asks where there is none. Null if nobody wants to give one. */
export function whoAmI(store) {
  const known = store.hello?.by || read();
  if (known) return Promise.resolve(known);
  const dialog = $('#who'), field = $('#who-name');
  return new Promise((done) => {
    dialog.onclose = () => {
      const name = dialog.returnValue === 'ok' ? field.value.trim().slice(0, 60) : '';
      if (name) keep(name);
      done(name || null);
    };
    dialog.returnValue = '';
    dialog.showModal();
    field.focus();
  });
}
