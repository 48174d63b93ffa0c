// A job's output as it comes: the supervisor's records, decoded into lines with their colours.

import { chunks } from './api.js';
import { h } from './dom.js';

const HEADER = 13;
const STDOUT = 1;
const STDERR = 2;
const ATTEMPT = 3;
const END = 255;
// What a page holds without getting slow; `slate-fleet logs` has all of it.
const LINES_KEPT = 5000;
const RETRY = 1000;

/** Splits bytes into records; what is not complete waits for the next bytes. */
export function reader() {
  let rest = new Uint8Array(0);
  return (bytes) => {
    const all = new Uint8Array(rest.length + bytes.length);
    all.set(rest);
    all.set(bytes, rest.length);
    const view = new DataView(all.buffer);
    const records = [];
    let at = 0;
    while (all.length - at >= HEADER) {
      const length = view.getUint32(at + 9, true);
      if (all.length - at < HEADER + length) break;
      records.push({ kind: all[at], bytes: all.subarray(at + HEADER, at + HEADER + length), size: HEADER + length });
      at += HEADER + length;
    }
    rest = all.slice(at);
    return records;
  };
}

// The sequences that terminals act on; of them only colours are shown.
const CONTROL = /\x1b(?:\[([0-9;?]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;

/** `[text, class]` pieces of a line; `look` is the colour that goes on from line to line. */
export function pieces(line, look) {
  const shown = line.slice(line.lastIndexOf('\r') + 1);
  const found = [];
  let from = 0;
  const add = (to) => {
    if (to > from) found.push([shown.slice(from, to), [look.bold && 'bold', look.colour].filter(Boolean).join(' ')]);
  };
  for (const match of shown.matchAll(CONTROL)) {
    add(match.index);
    from = match.index + match[0].length;
    if (match[2] === 'm') paint(match[1], look);
  }
  add(shown.length);
  return found;
}

function paint(codes, look) {
  for (const code of codes.split(';').map(Number)) {
    if (code === 0) { look.bold = false; look.colour = null; }
    if (code === 1) look.bold = true;
    if (code === 22) look.bold = false;
    if (code >= 30 && code <= 37) look.colour = `c${code - 30}`;
    if (code >= 90 && code <= 97) look.colour = `c${code - 90}`;
    if (code === 39) look.colour = null;
  }
}

/** Shows a job's output in `box` until its end, or until `signal`; goes on where a lost stream broke off. */
export async function show(job, box, say, signal) {
  let from = 0;
  const screen = new Screen(box);
  while (!signal.aborted) {
    try {
      const split = reader();
      for await (const chunk of chunks(`/api/v1/jobs/job-${job}/logs?follow=true&from=${from}`, signal)) {
        const records = split(chunk);
        for (const record of records) from += record.size;
        screen.write(records);
        if (records.some((record) => record.kind === END)) return say('The end of its output.');
        say('');
      }
      return say(from ? 'The end of its output.' : 'It wrote nothing.');
    } catch (error) {
      if (signal.aborted) return undefined;
      say(`${error.message}; trying again`);
      await new Promise((resolve) => { setTimeout(resolve, RETRY); });
    }
  }
  return undefined;
}

/** Lines in a box that stays at its end while its reader does. */
class Screen {
  constructor(box) {
    this.box = box;
    this.streams = { [STDOUT]: fresh(''), [STDERR]: fresh('stderr') };
    this.dropped = 0;
    this.lines = 0;
  }

  write(records) {
    const scroller = this.box.parentElement;
    const follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
    const added = document.createDocumentFragment();
    for (const { kind, bytes } of records) {
      if (kind === ATTEMPT) added.append(h('div', { class: 'attempt' }, `attempt ${new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)}`));
      else if (this.streams[kind]) this.append(this.streams[kind], bytes, added);
    }
    this.lines += added.childElementCount;
    this.box.append(added);
    this.bound();
    if (follows) scroller.scrollTop = scroller.scrollHeight;
  }

  append(stream, bytes, added) {
    const parts = stream.decoder.decode(bytes, { stream: true }).split('\n');
    for (const [index, part] of parts.entries()) {
      if (index > 0) { stream.line = null; stream.text = ''; }
      if (index === parts.length - 1 && part === '') continue;
      stream.text += part.endsWith('\r') ? part.slice(0, -1) : part;
      if (!stream.line) {
        stream.line = h('div', { class: stream.class });
        stream.before = { ...stream.look };
        added.append(stream.line);
      }
      Object.assign(stream.look, stream.before);
      stream.line.replaceChildren(...pieces(stream.text, stream.look).map(([text, look]) => h('span', look ? { class: look } : {}, text)));
    }
  }

  bound() {
    while (this.lines > LINES_KEPT) {
      this.box.firstElementChild.remove();
      this.lines -= 1;
      this.dropped += 1;
    }
    if (this.dropped) this.box.setAttribute('data-dropped', `${this.dropped} earlier lines: slate-fleet logs has them`);
  }
}

const fresh = (name) => ({ decoder: new TextDecoder(), look: {}, before: {}, text: '', line: null, class: name });
