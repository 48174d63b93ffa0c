// Jobs: those that wait and why, and a waterfall of the recent ones.

import { attribute, byId, h, hidden, keyed, style, text } from './dom.js';
import { known, may, now } from './live.js';
import { age, clock, command, isHeld, isOver, jobName, span, state, story } from './words.js';

const NEEDS_TOKEN = 'Jobs are shown with a token: slate-fleet dashboard opens this page with one.';

export function drawQueue() {
  const { fleet, queue } = known;
  if (!fleet) return;
  const all = fleet.queued + fleet.held;
  text(byId('queue-count'), [fleet.queued || null, fleet.held ? `${fleet.held} on hold` : null].filter(Boolean).join(', '));
  const none = byId('no-queue');
  const shown = may('viewer') && all > 0;
  hidden(none, shown);
  if (!shown) text(none, may('viewer') ? 'Nothing waits.' : NEEDS_TOKEN);
  keyed(byId('queue-list'), shown ? queue : [], (job) => job.id, makeWaiting);
  const more = all - queue.length;
  text(byId('queue-more'), known.jobsProblem ?? (shown && more > 0 ? `and ${more} more` : ''));
}

function makeWaiting(job) {
  const link = h('a', { href: `#/${jobName(job.id)}` }, jobName(job.id));
  const words = h('span', { class: 'job' });
  const held = h('span', { class: 'chip wait' }, 'on hold');
  const since = h('span', { class: 'figure' });
  const why = h('p', { class: 'note' });
  const element = h('li', {}, h('div', { class: 'bar' }, h('span', { class: 'who' }, link, ' ', words), held, since), why);
  return {
    element,
    draw(it) {
      text(words, command(it));
      text(since, age(now() - it.queued_at));
      hidden(held, !isHeld(it));
      text(why, it.reason ?? '');
    },
  };
}

export function drawWaterfall() {
  const jobs = may('viewer') ? known.recent : [];
  const none = byId('no-recent');
  hidden(none, jobs.length > 0);
  if (!jobs.length) {
    none.replaceChildren(...(may('viewer')
      ? ['No jobs yet. ', h('code', {}, 'slate-fleet run -- ruff check .'), ' hands one in.']
      : [NEEDS_TOKEN]));
  }
  const axis = scale(jobs);
  keyed(byId('waterfall'), jobs, (job) => job.id, (job) => makeBar(job));
  for (const job of jobs) place(job, axis);
  hidden(byId('waterfall-axis'), jobs.length === 0);
  if (jobs.length) {
    keyed(byId('waterfall-axis'), [axis.from, (axis.from + axis.to) / 2, axis.to].map((at, index) => ({ at, index })), ({ index }) => index, () => {
      const element = h('span');
      return { element, draw: ({ at }) => text(element, clock(at)) };
    });
  }
}

/** From the oldest that is shown to now, or to the last end when nothing goes on. */
function scale(jobs) {
  const from = Math.min(...jobs.map((job) => job.queued_at));
  const open = jobs.some((job) => !isOver(job));
  const to = open ? now() : Math.max(...jobs.map((job) => job.ended_at ?? 0));
  return { from, to: Math.max(to, from + 1000) };
}

const bars = new Map();

function makeBar(job) {
  const link = h('a', { href: `#/${jobName(job.id)}` }, jobName(job.id));
  const words = h('span', { class: 'job' });
  const told = h('span', { class: 'unseen' });
  const [before, queued, assigned, ran] = ['before', 'queued', 'assigned', 'ran'].map((kind) => h('span', { class: kind }));
  const lane = h('span', { class: 'line', 'aria-hidden': 'true' }, before, queued, assigned, ran);
  const length = h('span', { class: 'figure' });
  const element = h('li', {}, h('span', { class: 'who' }, link, ' ', words), told, lane, length);
  const part = { queued, assigned, ran, before, told, words, length, element };
  bars.set(job.id, part);
  return {
    element,
    draw(it) {
      text(words, command(it));
      attribute(words, 'title', command(it));
      attribute(ran, 'data-status', it.status);
      attribute(element, 'title', it.reason ?? null);
    },
  };
}

function place(job, { from, to }) {
  const bar = bars.get(job.id);
  const at = now();
  const end = job.ended_at ?? at;
  const assigned = job.assigned_at ?? end;
  const started = job.started_at ?? (job.assigned_at ? end : assigned);
  const width = (part, ms) => style(bar[part], 'width', `${Math.max(0, (100 * ms) / (to - from)).toFixed(2)}%`);
  width('before', job.queued_at - from);
  width('queued', assigned - job.queued_at);
  width('assigned', started - assigned);
  width('ran', end - started);
  text(bar.told, story(job, at));
  text(bar.length, lengthOf(job, end - started));
  if (bars.size > 500) prune();
}

function lengthOf(job, ms) {
  if (isHeld(job)) return 'on hold';
  if (!job.started_at && !isOver(job)) return job.assigned_at ? 'starting' : 'waiting';
  return isOver(job) && job.status !== 'succeeded' ? `${span(ms)} ${state(job.status)}` : span(ms);
}

/** Bars of jobs that are shown no more. */
function prune() {
  for (const [id, bar] of bars) if (!bar.element.isConnected) bars.delete(id);
}
