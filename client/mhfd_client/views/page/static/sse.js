// Server-sent events from the bytes of an answer. EventSource hides comment lines; those tell that the line is alive.

/** Takes text as it comes, in any pieces, and gives the events that it completes: {event, data, id}. */
export class EventReader {
  constructor() { this.rest = ''; this.id = null; this.clear(); }

  clear() { this.event = 'message'; this.data = []; }

  push(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    return lines.map((line) => this.line(line)).filter(Boolean);
  }

  line(line) {
    if (line === '') return this.end();
    const colon = line.indexOf(':');
    if (colon === 0) return null;                               // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
    else if (field === 'id') this.id = value;
    return null;
  }

  end() {
    const done = this.data.length ? { event: this.event, data: this.data.join('\n'), id: this.id } : null;
    this.clear();
    return done;
  }
}
