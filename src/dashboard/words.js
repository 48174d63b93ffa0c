// Words and numbers for people. Pure: nothing here touches the page.

/** `850 ms`, `12 s`, `4 min`, `2 h 5 min`, `3 d 4 h`. */
export function span(ms) {
  if (ms < 0) return '0 s';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** As `span`, in whole seconds: for what grows while it is looked at. */
export const age = (ms) => span(Math.max(0, Math.floor(ms / 1000)) * 1000 || 0).replace(/^0 ms$/, '0 s');

/** `14:03:22` of this machine's day. */
const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
export const clock = (time) => TIME.format(time);

/** Names in the order of people: 2 before 10. */
export const { compare: byName } = new Intl.Collator(undefined, { numeric: true });

/** `512 MiB`, `1.5 GiB`. */
export function bytes(count) {
  for (const [unit, size] of [['TiB', 2 ** 40], ['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 1024]]) {
    if (count >= size) return `${trim(count / size)} ${unit}`;
  }
  return `${count} B`;
}

/** GPU memory in MiB: profiles are whole in thousands, cards in binary units. */
export const vram = (mib) => `${mib % 1000 === 0 ? mib / 1000 : trim(mib / 1024)} GB`;

/** `2 CPU`, `0.5 CPU`. */
export const cpus = (milli) => trim(milli / 1000);

const trim = (value) => (value >= 100 ? String(Math.round(value)) : String(Math.round(value * 10) / 10));

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

const TROUBLE = new Set(['error', 'stale', 'oom', 'timed_out']);
const LEAVING = new Set(['stopping', 'removing']);

/** What a runner's state means: `running`, `idle`, `error`, `coming` or `leaving`. */
export function kind(runner) {
  if (runner.status === 'running' || runner.status === 'idle') return runner.status;
  if (TROUBLE.has(runner.status)) return 'error';
  return LEAVING.has(runner.status) ? 'leaving' : 'coming';
}

const STATES = { timed_out: 'timed out', oom: 'out of memory' };
export const state = (status) => STATES[status] ?? status;

export function tally(runners) {
  const by = { running: 0, idle: 0, error: 0, coming: 0, leaving: 0, closed: 0 };
  for (const runner of runners) {
    by[kind(runner)] += 1;
    if (runner.cordon === 'closed') by.closed += 1;
  }
  return by;
}

/** The fleet in one sentence: `{ level, text }`, where level is `good`, `wait` or `bad`. */
export function verdict(fleet, now) {
  const by = tally(fleet.runners);
  const total = fleet.runners.length;
  if (fleet.phase === 'starting') {
    return { level: 'wait', text: 'The supervisor has just started and looks for its containers.' };
  }
  if (fleet.phase === 'going_down') {
    return { level: 'wait', text: `The fleet is going down; ${count(total, 'runner')} ${total === 1 ? 'is' : 'are'} left.` };
  }
  const { level, text } = fitness(fleet, by, total);
  const closed = by.closed ? `${by.closed === total ? 'none takes' : `${by.closed} ${by.closed === 1 ? 'takes' : 'take'} no`} new jobs` : null;
  const paused = fleet.pools.filter((pool) => pool.paused).map((pool) => pool.name);
  const closedPools = paused.length === fleet.pools.length ? 'every pool is paused'
    : `${paused.join(', ')} ${paused.length === 1 ? 'is' : 'are'} paused`;
  const held = fleet.held ? `${count(fleet.held, 'job')} ${fleet.held === 1 ? 'is' : 'are'} on hold` : null;
  const parts = [text, closed, paused.length && closedPools, waiting(fleet, by, now), held].filter(Boolean);
  return { level: paused.length && level === 'good' ? 'wait' : level, text: `${parts.join('; ')}.` };
}

function fitness(fleet, by, total) {
  const of = (some) => `${some} of ${count(total, 'runner')}`;
  if (by.error) return { level: 'bad', text: `${of(by.error)} ${by.error === 1 ? 'is' : 'are'} in trouble` };
  const trouble = fleet.troubles[0];
  if (!total) return { level: trouble ? 'bad' : 'wait', text: trouble ?? 'The fleet has no runners' };
  if (trouble) return { level: 'bad', text: `Something stands in the way: ${trouble.replace(/\.$/, '')}` };
  const ready = by.idle + by.running;
  if (by.coming) return { level: 'wait', text: `${of(ready)} ${ready === 1 ? 'is' : 'are'} ready, ${by.coming} on ${by.coming === 1 ? 'its' : 'their'} way` };
  return { level: 'good', text: total === 1 ? 'The runner is fine' : `All ${total} runners are fine` };
}

function waiting(fleet, by, now) {
  if (!fleet.queued) {
    return by.running ? `${by.running} ${by.running === 1 ? 'is' : 'are'} at work and nothing waits` : 'nothing waits';
  }
  const jobs = `${count(fleet.queued, 'job')} ${fleet.queued === 1 ? 'waits' : 'wait'}`;
  const oldest = fleet.oldest;
  if (!oldest) return jobs;
  const since = `${fleet.queued === 1 ? '' : ', the oldest'} for ${age(now - oldest.queued_at)}`;
  const why = oldest.reason ? ` because ${oldest.reason.split('; ')[0]}` : '';
  return jobs + since + why;
}

/** Why a pool has its size; null where the file alone says so. */
export function sizeReason(why, now) {
  switch (why.kind) {
    case 'set': return why.until ? `set by hand for ${age(why.until - now)} more` : 'set by hand';
    case 'least': return 'at its least: nothing asks for more';
    case 'warm': return 'keeps runners warm';
    case 'queue': return `grows: ${count(why.waiting, 'job')} wait`;
    case 'most': return `at its most, and ${count(why.waiting, 'job')} wait`;
    case 'held': return `cannot grow for ${count(why.waiting, 'job')}: ${why.why}`;
    case 'paused': return 'paused';
    case 'idle': return `shrinks after ${age(why.after.secs * 1000)} without work`;
    default: return null;
  }
}

/** Since when a pool is paused, and by whom; null for one that is not. */
export function pauseWords({ paused }, now) {
  return paused ? `paused for ${age(now - paused.since)} by ${paused.by}` : null;
}

/** Whether an operator keeps a job from starting. */
export const isHeld = (job) => job.reason_code === 'held';

/** A job in one line: its command, or the task that somebody drives from outside. */
export const command = (job) => (job.spec.task ? `task ${job.spec.task}` : job.spec.command.join(' '));

export const jobName = (id) => `job-${id}`;

const ENDED = new Set(['succeeded', 'failed', 'cancelled', 'timed_out', 'oom', 'lost']);
export const isOver = (job) => ENDED.has(job.status);

/** What became of a job, for those who cannot see its bar. */
export function story(job, now) {
  const end = job.ended_at ?? now;
  const parts = [`waited ${span((job.assigned_at ?? end) - job.queued_at)}`];
  if (job.started_at) parts.push(`${job.ended_at ? 'ran' : 'runs for'} ${span(end - job.started_at)}`);
  parts.push(isOver(job) ? state(job.status) : job.status);
  return parts.join(', ');
}
