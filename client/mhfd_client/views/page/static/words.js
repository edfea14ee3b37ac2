// Words, numbers and units: how the page says what it knows. No page element is touched here.

/** Words by verdict, in the order in which they are listed. The keys are the contract's names. */
export const WORDS = {
  later: 'not yet taken', todo: 'to do', in_focus: 'in focus', out_of_focus: 'out of focus', astigmatic: 'astigmatic',
  no_content: 'no content', cannot_tell: 'cannot tell', failed: 'failed', missing: 'missing',
};
export const KEYS = Object.keys(WORDS);
export const CODE = Object.fromEntries(KEYS.map((key, code) => [key, code]));

const BAD = new Set([CODE.out_of_focus, CODE.astigmatic, CODE.failed]);
const MEASURED = new Set([CODE.in_focus, CODE.out_of_focus, CODE.astigmatic]);

/** Whether a verdict asks for a retake. */
export const isBad = (code) => BAD.has(code);
/** Whether a verdict rests on a measured blur. */
export const isMeasured = (code) => MEASURED.has(code);
/** Whether people can decide about a tile with this verdict. */
export const canDecide = (code) => BAD.has(code) || code === CODE.cannot_tell;

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** 12480 -> "12,480"; "–" for what is not known. */
export function count(number) {
  return number === null || number === undefined ? '–' : String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** 0.4166 -> "0.42 px"; "–" for what is not known. */
export const px = (blur) => (Number.isFinite(blur) ? `${blur.toFixed(2)} px` : '–');

/** 0.4166 -> "0.42 µm". */
export const um = (defocus) => `${defocus.toFixed(2)} µm`;

const two = (number) => String(number).padStart(2, '0');

/** A time as "03:12"; takes Unix seconds or ISO text. "–" for what is not known. */
export function clock(time) {
  if (time === null || time === undefined) return '–';
  const at = new Date(typeof time === 'number' ? time * 1000 : time);
  return Number.isNaN(at.getTime()) ? '–' : `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** A time some days off, with its weekday: "Thu 14:10". */
export function day(time) {
  const at = new Date(typeof time === 'number' ? time * 1000 : time);
  if (Number.isNaN(at.getTime())) return '–';
  return `${['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][at.getDay()]} ${clock(time)}`;
}

/** Seconds in the largest unit that fits: "2 s", "8 min", "9 h". */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** Control characters and those that turn the direction of writing as escapes, so that a name shows what it is. */
export function plain(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** What a threshold would change: "would flag 37 of 12,480 more". */
export function effect({ more, fewer, of }) {
  if (more) return `would flag ${count(more)} of ${count(of)} more`;
  return fewer ? `would clear ${count(fewer)} of ${count(of)}` : 'would change nothing';
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
