// Pools with a tile for each runner, and the lanes that share them.

import { attribute, byId, h, hidden, keyed, text } from './dom.js';
import { ask } from './actions.js';
import { known, may, now } from './live.js';
import { count, kind, sizeReason, state } from './words.js';

export function drawPools() {
  const { fleet } = known;
  if (!fleet) return;

  hidden(byId('no-pools'), fleet.pools.length > 0);
  keyed(byId('pool-list'), fleet.pools, (pool) => pool.name, makePool);
  const lanes = fleet.lanes ?? [];
  hidden(byId('lane-list'), lanes.length === 0);
  keyed(byId('lane-list'), lanes, (lane) => lane.name, makeLane);
}

function makePool() {
  const name = h('span', { class: 'name' });
  const profile = h('span', { class: 'chip' });
  const figures = h('span', { class: 'figure' });
  const why = h('p', { class: 'note' });
  const tiles = h('div', { class: 'tiles', 'aria-hidden': 'true' });
  const scale = h('button', { type: 'button', class: 'small' }, 'Scale');
  const element = h('li', { class: 'pool' }, h('div', { class: 'bar' }, h('h3', {}, name, profile), figures, scale), tiles, why);
  let last;
  scale.addEventListener('click', () => ask('scale', last));
  return {
    element,
    draw(pool) {
      last = pool;
      text(name, pool.name);
      text(profile, pool.profile);
      hidden(profile, pool.profile === pool.name);
      text(figures, poolFigures(pool));
      text(why, sizeReason(pool.why, now()));
      hidden(why, !sizeReason(pool.why, now()));
      hidden(scale, !may('operator'));
      attribute(scale, 'aria-label', `Scale ${pool.name}`);
      const runners = known.fleet.runners.filter((runner) => runner.pool === pool.name);
      keyed(tiles, runners, (runner) => runner.id, makeTile);
    },
  };
}

function poolFigures(pool) {
  const parts = [`${pool.running} running`, `${pool.idle} idle`];
  if (pool.error) parts.push(`${pool.error} in trouble`);
  if (pool.waiting) parts.push(`${count(pool.waiting, 'job')} waiting`);
  if (pool.spares) parts.push(count(pool.spares, 'spare'));
  const size = pool.min === pool.max ? `${pool.desired}` : `${pool.desired} of ${pool.min}–${pool.max}`;
  return `${size}: ${parts.join(', ')}`;
}

function makeTile(runner) {
  const element = h('a', { class: 'tile', href: `#/${runner.name}`, tabindex: '-1' });
  return {
    element,
    draw(it) {
      attribute(element, 'data-state', kind(it));
      attribute(element, 'data-cordon', it.cordon === 'closed');
      attribute(element, 'title', `${it.name}: ${state(it.status)}${it.job ? `, job-${it.job}` : ''}`);
    },
  };
}

function makeLane() {
  const name = h('span', { class: 'name' });
  const pools = h('span', { class: 'note' });
  const figures = h('span', { class: 'figure' });
  const element = h('li', { class: 'lane' }, h('span', {}, name, ' ', pools), figures);
  return {
    element,
    draw(lane) {
      text(name, lane.name);
      text(pools, `in ${lane.pools.join(', ')}${lane.priority ? `, priority ${lane.priority > 0 ? '+' : ''}${lane.priority}` : ''}`);
      text(figures, `${lane.running} running, ${lane.queued} waiting`);
    },
  };
}
