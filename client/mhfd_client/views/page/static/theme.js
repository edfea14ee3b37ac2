// Light and dark: as the system has it, until somebody chooses.

import { $ } from './dom.js';

const KEY = 'mhfd.theme';
const system = window.matchMedia('(prefers-color-scheme: dark)');

function chosen() {
  try { return window.localStorage.getItem(KEY); } catch { return null; }
}

export function makeTheme({ view }) {
  const put = (name) => {
    document.documentElement.dataset.theme = name;
    $('#theme').textContent = name === 'dark' ? 'Light' : 'Dark';
    view.set({}, 'theme');
  };
  $('#theme').addEventListener('click', () => {
    const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    try { window.localStorage.setItem(KEY, next); } catch { /* until the page closes */ }
    put(next);
  });
  const follow = () => put(chosen() ?? (system.matches ? 'dark' : 'light'));
  system.addEventListener('change', follow);
  follow();
}
