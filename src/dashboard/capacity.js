// The capacity map: what the host and its cards have, and which runner holds what of it.

import { attribute, byId, h, hidden, keyed, style, text } from './dom.js';
import { ask } from './actions.js';
import { known, may } from './live.js';
import { meter } from './overview.js';
import { byName, bytes, cpus, kind, vram } from './words.js';

export function drawHost() {
  const { fleet } = known;
  if (!fleet?.host) return;
  keyed(byId('hosts'), fleet.host.cpus ? [fleet.host] : [], () => 'here', makeHost);
  const notes = fleet.gpus.cards.length ? [] : fleet.gpus.notes;
  const unknown = fleet.host.cpus ? [] : ['What this host has is not known yet.'];
  text(byId('card-notes'), [...unknown, ...notes].join(' '));
  keyed(byId('cards'), fleet.gpus.cards, (card) => card.uuid, makeCard);
}

function makeHost() {
  const title = h('h3', {}, 'This host');
  const cpu = meter('CPU');
  const memory = meter('Memory');
  const disks = h('div', { class: 'host' });
  const element = h('div', { class: 'host' }, title, cpu.element, memory.element, disks);
  return {
    element,
    draw(host) {
      const used = { cpu: 0, memory: 0 };
      for (const runner of known.usage.values()) {
        used.cpu += runner.cpus ?? 0;
        used.memory += runner.memory ?? 0;
      }
      const measured = known.usage.size > 0;
      const share = (part, all) => (all ? part / all : 0);
      cpu.draw(
        [['promised', share(host.cpus_promised, host.cpus * 1000)], ['used', measured ? share(used.cpu, host.cpus * 1000) : 0]],
        `${cpus(host.cpus_promised)} of ${host.cpus} promised${measured ? `, ${cpus(used.cpu)} used` : ''}`,
      );
      memory.draw(
        [['promised', share(host.memory_promised, host.memory)], ['used', measured ? share(used.memory, host.memory) : 0]],
        `${bytes(host.memory_promised)} of ${bytes(host.memory)} promised${measured ? `, ${bytes(used.memory)} used` : ''}`,
      );
      attribute(cpu.element, 'data-over', host.cpus_promised > host.cpus * 1000);
      attribute(memory.element, 'data-over', host.memory_promised > host.memory);
      keyed(disks, known.fleet.disks ?? [], (disk) => disk.path, makeDisk);
    },
  };
}

function makeDisk() {
  const bar = meter('Disk');
  return {
    element: bar.element,
    draw(disk) {
      const used = disk.total - disk.free;
      bar.draw([['used', disk.total ? used / disk.total : 0]], `${bytes(disk.free)} of ${bytes(disk.total)} free: ${disk.holds}`);
      attribute(bar.element, 'data-low', disk.low);
      attribute(bar.element, 'title', disk.path);
    },
  };
}

function makeCard() {
  const title = h('h3');
  const figures = h('span', { class: 'figure' });
  const why = h('p', { class: 'why' });
  const lane = h('ul', { class: 'blocks' });
  const ticks = h('div', { class: 'ticks', 'aria-hidden': 'true' });
  const sums = h('p', { class: 'note sums' });
  const cordon = h('button', { type: 'button', class: 'small' });
  const element = h('div', { class: 'gpu' }, h('div', { class: 'bar' }, title, figures, cordon), lane, ticks, sums, why);
  let last;
  cordon.addEventListener('click', () => ask(last.cordon ? 'open-card' : 'close-card', last));
  return {
    element,
    draw(card) {
      last = card;
      text(title, `GPU ${card.index}: ${card.name} (${vram(card.memory)})`);
      text(figures, cardFigures(card));
      text(why, whyClosed(card));
      hidden(why, !whyClosed(card));
      attribute(element, 'data-closed', Boolean(whyClosed(card)));
      text(cordon, card.cordon ? 'Open' : 'Close');
      attribute(cordon, 'aria-label', `${card.cordon ? 'Open' : 'Close'} GPU ${card.index}`);
      hidden(cordon, !may('operator'));
      const parts = blocks(card);
      attribute(lane, 'aria-label', `Memory of GPU ${card.index}`);
      keyed(lane, parts, (part) => part.key, makeBlock);
      keyed(ticks, marks(card.memory), (mark) => mark, (mark) => makeMark(mark, card.memory));
      text(sums, reserved(card));
    },
  };
}

/** Where a card's scale is marked, in MiB: five parts at most. */
function marks(memory) {
  const step = [1, 2, 4, 8, 16, 32, 64].find((size) => memory <= 5 * size * 1024) ?? 128;
  return Array.from({ length: Math.floor(memory / (step * 1024)) + 1 }, (_, part) => part * step * 1024);
}

function makeMark(mark, memory) {
  const element = h('span', {}, mark ? vram(mark) : '0');
  style(element, 'left', `${((100 * mark) / memory).toFixed(2)}%`);
  // The last one stays inside, where the scale ends with it.
  attribute(element, 'data-end', mark > memory * 0.97);
  return { element, draw() {} };
}

/** `8 GB reserved by 1 gpu_heavy, 4 GB by 2 gpu_light; 4 GB free`. */
function reserved(card) {
  const by = new Map();
  for (const { profile, reserved: memory } of card.leases) {
    const all = by.get(profile) ?? { runners: 0, memory: 0 };
    by.set(profile, { runners: all.runners + 1, memory: all.memory + memory });
  }
  const leases = [...by].sort(([, a], [, b]) => b.memory - a.memory)
    .map(([profile, { runners, memory }], index) => `${vram(memory)}${index ? '' : ' reserved'} by ${runners} ${profile}`);
  const free = card.leases.some((lease) => lease.exclusive) ? 0 : Math.max(0, card.headroom);
  const others = card.foreign ? `${vram(card.foreign)} used by others` : null;
  return [leases.join(', ') || 'nothing reserved', others, `${vram(free)} free`].filter(Boolean).join('; ');
}

const whyClosed = (card) => {
  if (card.cordon) return `Nothing new is placed here: ${card.cordon}`;
  return card.mig === 'on' ? 'Cut into MIG instances, which are cards of their own' : '';
};

function cardFigures(card) {
  const parts = [];
  if (card.busy_percent !== null) parts.push(`${card.busy_percent}% busy`);
  if (card.used !== null) parts.push(`${vram(card.used)} used`);
  if (card.temperature !== null) parts.push(`${card.temperature} °C`);
  if (card.power !== null) parts.push(`${card.power} W`);
  return parts.join(' · ') || 'nothing could be read';
}

/** What is on a card, in the order of the drawing: the largest leases first, then others, then free. */
function blocks(card) {
  const all = card.memory || 1;
  const leases = [...card.leases].sort((a, b) => b.reserved - a.reserved || byName(a.name, b.name));
  const parts = leases.map((lease) => ({
    key: lease.incarnation,
    kind: 'lease',
    state: stateOf(lease),
    share: (lease.exclusive ? all : lease.reserved) / all,
    name: lease.profile.replace(/^gpu_/, ''),
    number: /\d*$/.exec(lease.name)[0],
    words: vram(lease.reserved),
    used: lease.used === null ? null : lease.used / Math.max(1, lease.reserved),
    title: `${lease.name}: ${lease.profile}, ${vram(lease.reserved)} reserved`
      + `${lease.used === null ? '' : `, ${vram(lease.used)} used`}${lease.exclusive ? ', alone on the card' : ''}`,
  }));
  const more = (key, memory, name) => {
    if (memory > 0) parts.push({ key, kind: key, share: memory / all, name, words: vram(memory), used: null, title: `${vram(memory)}: ${name}` });
  };
  more('foreign', card.foreign, 'others');
  more('driver', card.reserved, 'driver');
  if (!leases.some((lease) => lease.exclusive)) more('free', Math.max(0, card.headroom), 'free');
  return parts;
}

function stateOf(lease) {
  const runner = known.runners.get(lease.slot);
  return runner ? kind(runner) : 'leaving';
}

function makeBlock() {
  const [word, number] = [h('span', { class: 'word' }), h('span')];
  const name = h('span', { class: 'name' }, word, ' ', number);
  const words = h('span', { class: 'figure' });
  const used = h('span', { class: 'level', 'aria-hidden': 'true' });
  const element = h('li', { class: 'block' }, name, words, used);
  return {
    element,
    draw(part) {
      attribute(element, 'data-kind', part.kind);
      attribute(element, 'data-state', part.state);
      attribute(element, 'title', part.title);
      style(element, 'flex-grow', String(Math.max(part.share, 0.01)));
      text(word, part.name);
      text(number, part.number ?? '');
      text(words, part.words);
      hidden(used, part.used === null);
      if (part.used !== null) style(used, 'width', `${Math.min(100, part.used * 100).toFixed(0)}%`);
    },
  };
}
