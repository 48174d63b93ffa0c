// The head of the page: contact, verdict, what stands in the way, and the counts.

import { attribute, byId, h, hidden, keyed, style, text } from './dom.js';
import { changed, known, now } from './live.js';
import { age, clock, tally, verdict } from './words.js';

const COUNTS = [
  ['running', 'running'],
  ['idle', 'idle'],
  ['error', 'in trouble'],
  ['queued', 'waiting'],
];

/** The state that the table of runners is narrowed to; null for all. */
export const narrowed = { to: null };

export function drawContact() {
  const { is, since, retryAt, why } = known.contact;
  attribute(document.body, 'data-contact', is);
  text(byId('contact-words'), { connecting: 'connecting', live: 'live', lost: 'no contact', closed: 'needs a token' }[is]);
  const banner = byId('lost');
  hidden(banner, is !== 'lost');
  if (is === 'closed' && !known.fleet) {
    text(byId('sentence'), 'This fleet is shown to those who have a token.');
    keyed(byId('troubles'), [why], () => 'why', makeTrouble);
  }
  if (is !== 'lost') return;
  const retry = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  // Said once by screen readers; only the seconds after it go on.
  if (!banner.firstChild) banner.append(h('span'), h('span', { 'aria-hidden': 'true' }));
  text(banner.firstChild, `No contact with the supervisor since ${clock(since)}: ${why}. `
    + (known.fleet ? 'What you see is from then. ' : ''));
  text(banner.lastChild, `${age(Date.now() - since)} now; trying again ${retry ? `in ${retry} s` : 'now'}.`);
}

export function drawWho() {
  const { role, name, refused } = known.who;
  const words = role ? `${name ? `${name}, ` : ''}${role}` : 'public view';
  text(byId('who'), refused ? `${refused}; public view` : words);
}

let spokenAt = 0;

export function drawVerdict() {
  const { fleet } = known;
  if (!fleet) return;
  const { level, text: words } = verdict(fleet, now());
  text(byId('project'), fleet.project);
  attribute(byId('verdict'), 'data-level', level);
  text(byId('sentence'), words);
  speak(words);
  const sign = { good: '✓', wait: '…', bad: '!' }[level];
  const title = `${known.contact.is === 'lost' ? '?' : sign} ${fleet.project}`;
  if (document.title !== title) document.title = title;
  keyed(byId('troubles'), fleet.troubles, (trouble) => trouble, makeTrouble);
  drawCounts(fleet);
}

function makeTrouble(trouble) {
  return { element: h('li', {}, trouble), draw() {} };
}

/** Screen readers hear the verdict when it becomes another one, not each second of its age. */
function speak(words) {
  const spoken = words.replace(/, the oldest for .+?(?= because|;|$)/, '').replace(/ for \d+ (s|min)\b/, '');
  const at = Date.now();
  if (at - spokenAt < 5000 && spokenAt) return;
  spokenAt = at;
  text(byId('spoken'), spoken);
}

function drawCounts(fleet) {
  const by = { ...tally(fleet.runners), queued: fleet.queued };
  const counts = COUNTS.map(([key, words]) => ({ key, words, count: by[key] }));
  keyed(byId('counts'), counts, ({ key }) => key, ({ key, words }) => {
    const number = h('span', { class: 'big' });
    const go = () => {
      if (key === 'queued') {
        byId('queue').scrollIntoView({ block: 'nearest' });
        return;
      }
      narrowed.to = narrowed.to === key ? null : key;
      changed('fleet');
      if (narrowed.to) byId('runners').scrollIntoView({ block: 'start' });
    };
    const button = h('button', { type: 'button', click: go, 'data-kind': key }, number, h('span', {}, words));
    const element = h('li', {}, button);
    return {
      element,
      draw: ({ count }) => {
        text(number, count);
        attribute(button, 'data-zero', count === 0);
        if (key !== 'queued') attribute(button, 'aria-pressed', String(narrowed.to === key));
      },
    };
  });
}

/** A bar with its words; `parts` are `[kind, share]`. */
export function meter(label) {
  const words = h('span', { class: 'figure' });
  const track = h('div', { class: 'track', 'aria-hidden': 'true' });
  const element = h('div', { class: 'meter' }, h('span', { class: 'name' }, label), track, words);
  return {
    element,
    draw(parts, figure) {
      keyed(track, parts, ([part]) => part, ([part]) => {
        const fill = h('span', { class: `fill ${part}` });
        return { element: fill, draw: ([, share]) => style(fill, 'width', `${Math.min(100, share * 100).toFixed(1)}%`) };
      });
      text(words, figure);
    },
  };
}

