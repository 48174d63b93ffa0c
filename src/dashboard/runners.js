// The table of runners: sorted, narrowed, and drawn again only where something changed.

import { attribute, byId, h, hidden, keyed, text } from './dom.js';
import { changed, known, now } from './live.js';
import { narrowed } from './overview.js';
import { age, byName, bytes, command, cpus, kind, state, vram } from './words.js';

const sorted = { by: 'name', up: true };
let filter = '';

const ORDER = { error: 0, running: 1, coming: 2, leaving: 3, idle: 4 };
const KEYS = {
  name: (it) => it.name,
  status: (it) => ORDER[kind(it)],
  job: (it) => it.job ?? Infinity,
  age: (it) => -it.since,
  cpu: (it) => -(known.usage.get(it.id)?.cpus ?? -1),
  memory: (it) => -(known.usage.get(it.id)?.memory ?? -1),
  vram: (it) => -(leases.get(it.id)?.reserved ?? -1),
  done: (it) => -it.tasks_completed,
};

let leases = new Map();

export function listen() {
  byId('filter').addEventListener('input', (event) => {
    filter = event.target.value.trim().toLowerCase();
    changed('fleet');
  });
  for (const button of document.querySelectorAll('th button')) {
    button.addEventListener('click', () => {
      const by = button.dataset.sort;
      sorted.up = sorted.by === by ? !sorted.up : true;
      sorted.by = by;
      for (const other of document.querySelectorAll('th[aria-sort]')) other.removeAttribute('aria-sort');
      button.parentElement.setAttribute('aria-sort', sorted.up ? 'ascending' : 'descending');
      changed('fleet');
    });
  }
}

export function drawRunners() {
  const { fleet } = known;
  if (!fleet) return;
  leases = new Map(fleet.gpus.cards.flatMap((card) => card.leases).filter((it) => it.slot).map((it) => [it.slot, it]));
  const shown = fleet.runners.filter(isShown).sort(compare);
  const all = fleet.runners.length;
  text(byId('runner-count'), shown.length === all ? all : `${shown.length} of ${all}`);
  const none = byId('no-runners');
  hidden(none, shown.length > 0);
  hidden(byId('runner-rows').closest('.scroll'), all === 0);
  if (!shown.length) text(none, all ? 'No runner is like that.' : 'There are no runners. slate-fleet scale, or a pool in the fleet file, makes some.');
  keyed(byId('runner-rows'), shown, (it) => it.id, makeRow);
}

function isShown(it) {
  if (narrowed.to && kind(it) !== narrowed.to) return false;
  if (!filter) return true;
  const cordon = it.cordon === 'closed' ? 'cordoned' : '';
  return [it.name, it.pool, it.profile, state(it.status), jobWords(it), it.reason ?? '', cordon]
    .some((value) => value.toLowerCase().includes(filter));
}

function compare(a, b) {
  const [x, y] = [KEYS[sorted.by](a), KEYS[sorted.by](b)];
  const order = typeof x === 'string' ? byName(x, y) : x - y;
  return (sorted.up ? order : -order) || a.id - b.id;
}

function jobWords(it) {
  if (it.task) return `task ${it.task}`;
  if (it.job) {
    const job = known.running.get(it.job);
    return `job-${it.job}${job ? ` ${command(job)}` : ''}`;
  }
  const work = it.status === 'running' ? it.forge?.work : null;
  return work ? `${work.repository ?? ''} ${work.name ?? ''}`.trim() : '';
}

function makeRow(runner) {
  const link = h('a', { href: `#/${runner.name}` });
  const pool = h('span', { class: 'note' });
  const mark = h('span', { class: 'state' });
  const job = h('a', { class: 'job' });
  const plain = h('span', { class: 'job' });
  const [since, cpu, memory, card, done] = Array.from({ length: 5 }, () => h('td', { role: 'cell', class: 'number' }));
  const note = h('td', { role: 'cell', class: 'reason' });
  const element = h('tr', { role: 'row' }, h('th', { role: 'rowheader', scope: 'row' }, link, ' ', pool), h('td', { role: 'cell' }, mark),
    h('td', { role: 'cell' }, job, plain), since, cpu, memory, card, done, note);
  return {
    element,
    draw(it) {
      text(link, it.name);
      text(pool, it.pool === it.profile ? it.pool : `${it.pool} · ${it.profile}`);
      attribute(mark, 'data-state', kind(it));
      attribute(element, 'data-trouble', kind(it) === 'error');
      text(mark, it.cordon === 'closed' ? `${state(it.status)}, cordoned` : state(it.status));
      const words = jobWords(it);
      attribute(job, 'href', it.job ? `#/job-${it.job}` : null);
      hidden(job, !it.job);
      hidden(plain, Boolean(it.job));
      text(it.job ? job : plain, words);
      attribute(it.job ? job : plain, 'title', words);
      text(since, age(now() - it.since));
      drawUse(it, cpu, memory, card);
      text(done, it.tasks_completed);
      text(note, noteOf(it));
      attribute(note, 'title', noteOf(it));
    },
  };
}

function drawUse(it, cpu, memory, card) {
  const used = known.usage.get(it.id);
  const lease = leases.get(it.id);
  const of = (part, whole) => (part === null || part === undefined ? whole : `${part} / ${whole}`);
  const busy = used?.cpus ?? null;
  text(cpu, of(busy === null ? null : cpus(busy), cpus(it.cpus)));
  text(memory, of(used?.memory ? bytes(used.memory) : null, bytes(it.memory)));
  text(card, lease ? of(lease.used === null ? null : vram(lease.used), vram(lease.reserved)) : '');
}

function noteOf(it) {
  if (it.reason) return it.reason;
  if (it.forge?.hold) return it.forge.hold;
  const last = it.last_failure;
  return last && last.in_a_row ? `last failure: ${last.cause}` : '';
}
