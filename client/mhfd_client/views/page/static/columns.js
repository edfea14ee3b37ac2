// The tiles of a run as columns: reading what /api/tiles.bin sends. Nothing else is known here.

/** A value of `section` or `position` that says: none. */
export const NONE = 0xffff;
/** Bytes before the first column, and bytes a tile. */
export const HEADER = 32, ROW = 25;

/** The columns, their types and their bytes, in the order in which they come. */
export const COLUMNS = [
  ['n', Uint32Array], ['section', Uint16Array], ['position', Uint16Array], ['verdict', Uint8Array],
  ['blur', Float32Array], ['flag', Float32Array], ['score', Float32Array], ['defocus', Float32Array],
];

/** Reads an answer of /api/tiles.bin: {seq, count, columns}. Little endian, as every browser's machine is. */
export function readColumns(buffer) {
  const head = new DataView(buffer, 0, HEADER);
  if (String.fromCharCode(...new Uint8Array(buffer, 0, 4)) !== 'MHFD') throw new Error('These are no tiles of mhfd.');
  const count = head.getUint32(8, true), seq = Number(head.getBigUint64(16, true));
  if (buffer.byteLength !== HEADER + ROW * count) throw new Error('The tiles came in part only.');
  let at = HEADER;
  const columns = {};
  for (const [name, Kind] of COLUMNS) {
    const end = at + count * Kind.BYTES_PER_ELEMENT;
    columns[name] = new Kind(buffer.slice(at, end));
    at = end;
  }
  return { seq, count, columns };
}
