'use strict';
{
  // The table of all tiles: sorted by a click on a header, filtered by words and by verdict.
  const table = document.querySelector('#tiles'), body = table.tBodies[0], rows = [...body.rows];
  const find = document.querySelector('#find'), only = document.querySelector('#only');

  const text = (row, column) => row.cells[column].textContent.trim();
  const number = (row, column) => Number(text(row, column).match(/[\d.]+/g)?.at(-1) ?? NaN);   // of "0.4 (4.1)" the worst part
  const byText = (a, b) => a.localeCompare(b, 'en', { numeric: true });
  const unknown = (key) => key === '' || key !== key;

  function sort(header) {
    const column = header.cellIndex, down = header.getAttribute('aria-sort') === 'ascending';
    const named = header.dataset.by === 'text', key = named ? text : number;
    for (const each of table.tHead.rows[0].cells) each.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const keyed = rows.map((row) => [key(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);                         // last, either way
      return (down ? -1 : 1) * (named ? byText(a, b) : a - b);
    });
    body.append(...keyed.map(([, row]) => row));
  }

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const all = row.textContent.toLowerCase();
      row.hidden = (only.value && row.dataset.v !== only.value) || !words.every((word) => all.includes(word));
      shown += !row.hidden;
    }
    const count = (n) => n.toLocaleString('en');
    document.querySelector('#found').textContent = shown < rows.length ? `${count(shown)} of ${count(rows.length)}` : '';
  }

  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement('button');
    button.append(...header.childNodes);
    button.addEventListener('click', () => sort(header));
    header.append(button);
  }
  find.addEventListener('input', filter);
  only.addEventListener('change', filter);
  document.querySelector('#tools').hidden = false;

  for (const button of document.querySelectorAll('.copy')) {
    const area = button.previousElementSibling;
    button.hidden = false;
    button.addEventListener('click', () => {
      area.select();
      button.textContent = document.execCommand('copy') ? 'Copied' : 'Select and copy by hand';
    });
  }
}
