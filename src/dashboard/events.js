// The feed of events: the audit log, newest first.

import { byId, h, hidden, keyed, text } from './dom.js';
import { known, may } from './live.js';
import { clock } from './words.js';

export function drawEvents() {
  const none = byId('no-events');
  hidden(none, known.events.length > 0);
  text(none, may('viewer') ? 'Nothing has happened yet.' : 'Events are shown with a token: slate-fleet dashboard opens this page with one.');
  hidden(byId('event-list').parentElement, known.events.length === 0);
  keyed(byId('event-list'), known.events, (entry) => entry.seq, makeEntry);
}

function makeEntry(entry) {
  const time = h('time', { datetime: new Date(entry.at).toISOString() }, clock(entry.at));
  const object = name(entry.object);
  const state = entry.after && entry.after !== entry.what ? ` → ${entry.after}` : '';
  const element = h('li', { 'data-seq': entry.seq }, time, object, h('span', { class: 'what' }, `${entry.what}${state}`),
    h('span', { class: 'reason' }, entry.why), h('span', { class: 'note' }, entry.actor.replace(/^client:/, '')));
  return { element, draw() {} };
}

function name(object) {
  const number = /^runner-0*(\d+)$/.exec(object)?.[1];
  const runner = number ? known.runners.get(Number(number)) : null;
  if (runner) return h('a', { href: `#/${runner.name}` }, runner.name);
  if (/^job-\d+$/.test(object)) return h('a', { href: `#/${object}` }, object);
  return h('span', {}, object);
}
