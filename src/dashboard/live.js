// What is known of the fleet, the streams that keep it so, and when the page draws it.

import { chunks, dropToken, hasToken, Problem, read } from './api.js';

/** Everything that the page shows. Only this module changes it. */
export const known = {
  fleet: null,
  runners: new Map(),
  running: new Map(),
  queue: [],
  recent: [],
  events: [],
  usage: new Map(),
  who: { role: null, name: null, expires: null },
  contact: { is: 'connecting', since: Date.now(), retryAt: 0, why: '' },
  jobsProblem: null,
};

/** The supervisor's clock: ages are right also where this machine's clock is not. */
export const now = () => Date.now() + ahead;
let ahead = 0;

const ROLES = ['viewer', 'operator', 'admin'];
/** Whether the token may do what needs this role. */
export const may = (role) => ROLES.indexOf(known.who.role) >= ROLES.indexOf(role);

const EVENTS_KEPT = 200;
const RECENT = 30;
const QUEUE_SHOWN = 200;
const RUNNING_MAX = 1000;
// The supervisor speaks at least every 15 s; two missed signs of life are a lost contact.
const SILENCE = 35_000;
const RETRY_LEAST = 500;
const RETRY_MOST = 10_000;
const USAGE_EVERY = 3_000;
// Figures that are older than this say nothing of now.
const USAGE_KEPT = 12_000;
// A fleet in a hurry changes its jobs many times a second, and eyes do not.
const JOBS_EVERY = 700;

const views = [];
let stale = new Set();

/** Calls `draw` in the next frame after one of these parts of `known` changed. */
export const watch = (parts, draw) => views.push({ parts, draw });

export function changed(...parts) {
  if (!stale.size) {
    // Hidden pages get no frames, and their title still tells.
    if (document.hidden) setTimeout(draw, 1000);
    else if (pause > 0) setTimeout(() => requestAnimationFrame(draw), pause);
    else requestAnimationFrame(draw);
  }
  for (const part of parts) stale.add(part);
}

// Drawing takes a quarter of the time at most, so that a page of many runners in a hurry stays
// quick under the hand.
const SHARE = 3;
const PAUSE_MOST = 500;
let pause = 0;

function draw() {
  const begun = performance.now();
  const parts = stale;
  stale = new Set();
  for (const view of views) if (view.parts.some((part) => parts.has(part))) view.draw();
  const took = performance.now() - begun;
  pause = took < 4 ? 0 : Math.min(took * SHARE, PAUSE_MOST);
  performance.measure('draw', { start: begun, duration: took });
}

/** Follows the fleet until the page is closed. */
export async function start() {
  setInterval(() => changed('tick'), 1000);
  setInterval(sampleUsage, USAGE_EVERY);
  document.addEventListener('visibilitychange', () => changed('fleet', 'jobs', 'tick'));
  for (let wait = RETRY_LEAST; ; wait = Math.min(wait * 2, RETRY_MOST)) {
    try {
      await identify();
      await follow(() => { wait = RETRY_LEAST; });
      lost('the supervisor ended the stream', wait);
    } catch (error) {
      if (error instanceof Problem && error.isAboutRights) wait = closed(error);
      else lost(told(error), wait);
    }
    await new Promise((resolve) => { setTimeout(resolve, wait); });
  }
}

const told = (error) => (error instanceof Problem ? error.message : 'the supervisor cannot be reached');

function lost(why, wait) {
  const before = known.contact;
  const since = before.is === 'lost' ? before.since : Date.now();
  known.contact = { is: 'lost', since, retryAt: Date.now() + wait, why };
  changed('contact');
}

/** The supervisor answers, and shows nothing to whoever comes without a token. */
function closed(error) {
  known.contact = { is: 'closed', since: Date.now(), retryAt: Date.now() + RETRY_MOST, why: error.message };
  changed('contact');
  return RETRY_MOST;
}

/** Asks what the token may do; one that is no good any more is dropped, and what is public stays. */
async function identify() {
  try {
    known.who = await read('/api/v1/whoami');
  } catch (error) {
    if (!(error instanceof Problem) || !error.isAboutRights || !hasToken()) throw error;
    dropToken();
    known.who = { ...(await read('/api/v1/whoami')), refused: error.message };
  }
  changed('who', 'jobs', 'events', 'fleet');
}

async function follow(opened) {
  const aborter = new AbortController();
  let watchdog;
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => aborter.abort(), SILENCE);
  };
  alive();
  try {
    if (!may('viewer')) known.events = [];
    for await (const message of messages(aborter.signal, alive)) {
      if (known.contact.is !== 'live') {
        known.contact = { is: 'live', since: Date.now(), retryAt: 0, why: '' };
        changed('contact');
        opened();
      }
      take(message);
    }
  } finally {
    clearTimeout(watchdog);
    aborter.abort();
  }
}

/**
 * Server-sent events; an EventSource cannot carry a token. A page that was cut off is told what it
 * missed, and no more than it keeps.
 */
async function* messages(signal, alive) {
  const decoder = new TextDecoder();
  let rest = '';
  const [last] = known.events;
  const path = last ? `/api/v1/stream?entries=${EVENTS_KEPT}` : '/api/v1/stream';
  const headers = last ? { 'last-event-id': String(last.seq) } : {};
  for await (const chunk of chunks(path, signal, headers)) {
    alive();
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const message = { event: 'message', data: '' };
      for (const line of block.split('\n')) {
        const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field === 'event') message.event = value;
        if (field === 'data') message.data += value;
      }
      if (message.data) yield { event: message.event, data: JSON.parse(message.data) };
    }
  }
}

function take({ event, data }) {
  if (event === 'fleet') takeFleet(data, new Map());
  else if (event === 'change') takeFleet(data, known.runners);
  else if (event === 'audit') takeEvent(data);
}

function takeFleet(fleet, runners) {
  ahead = fleet.at - Date.now();
  for (const id of fleet.gone ?? []) runners.delete(id);
  for (const runner of fleet.runners) runners.set(runner.id, runner);
  known.runners = runners;
  known.fleet = { ...fleet, runners: [...runners.values()] };
  changed('fleet');
  jobsMayHaveChanged();
}

function takeEvent(entry) {
  // Numbers rise; one that is no higher is of a record that was begun anew.
  if (entry.seq <= known.events[0]?.seq) known.events = [];
  known.events.unshift(entry);
  known.events.length = Math.min(known.events.length, EVENTS_KEPT);
  changed('events');
  if (entry.object.startsWith('job-')) jobsMayHaveChanged();
}

let asking = false;
let askAgain = false;

/** Reads the jobs soon, and once more if they changed while they were read. */
async function jobsMayHaveChanged() {
  if (!may('viewer')) return;
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  await readJobs();
  await new Promise((resolve) => { setTimeout(resolve, JOBS_EVERY); });
  asking = false;
  if (askAgain) {
    askAgain = false;
    jobsMayHaveChanged();
  }
}

async function readJobs() {
  try {
    const [running, queue, recent] = await Promise.all([
      read(`/api/v1/jobs?status=assigned,running&limit=${RUNNING_MAX}`),
      read(`/api/v1/jobs?order=queue&limit=${QUEUE_SHOWN}`),
      read(`/api/v1/jobs?limit=${RECENT}`),
    ]);
    known.running = new Map(running.map((job) => [job.id, job]));
    known.queue = queue;
    known.recent = recent;
    known.jobsProblem = null;
  } catch (error) {
    known.jobsProblem = told(error);
    askAgain = !(error instanceof Problem);
  }
  changed('jobs');
}

let usageAt = 0;

/** What runners use is measured only while somebody looks. */
async function sampleUsage() {
  if (document.hidden || known.contact.is !== 'live' || !known.fleet) return;
  try {
    const { runners } = await read('/api/v1/usage');
    known.usage = new Map(runners.map((runner) => [runner.id, runner]));
    usageAt = Date.now();
  } catch {
    // The stream tells of a lost contact.
    if (!known.usage.size || Date.now() - usageAt < USAGE_KEPT) return;
    known.usage = new Map();
  }
  changed('usage');
}
