// Pools with a tile for each runner, and the lanes that share them.

import { attribute, byId, h, hidden, keyed, text } from './dom.js';
import { ask } from './actions.js';
import { known, may, now } from './live.js';
import { count, kind, pauseWords, sizeReason, state } from './words.js';

export function listen() {
  byId('pause-all').addEventListener('click', () => ask(isAllPaused() ? 'unpause' : 'pause', null));
}

const isAllPaused = () => known.fleet.pools.every((pool) => pool.paused);

export function drawPools() {
  const { fleet } = known;
  if (!fleet) return;

  hidden(byId('no-pools'), fleet.pools.length > 0);
  hidden(byId('pause-all'), fleet.pools.length === 0 || !may('operator'));
  text(byId('pause-all'), isAllPaused() ? 'Resume all' : 'Pause all');
  keyed(byId('pool-list'), fleet.pools, (pool) => pool.name, makePool);
  const lanes = fleet.lanes ?? [];
  hidden(byId('lane-list'), lanes.length === 0);
  keyed(byId('lane-list'), lanes, (lane) => lane.name, makeLane);
}

function makePool() {
  const name = h('span', { class: 'name' });
  const profile = h('span', { class: 'chip' });
  const paused = h('span', { class: 'chip wait' }, 'paused');
  const figures = h('span', { class: 'figure' });
  const why = h('p', { class: 'note' });
  const tiles = h('div', { class: 'tiles', 'aria-hidden': 'true' });
  const scale = h('button', { type: 'button', class: 'small' }, 'Scale');
  const pause = h('button', { type: 'button', class: 'small' });
  const title = h('h3', {}, name, profile, paused);
  const element = h('li', { class: 'pool' }, h('div', { class: 'bar' }, title, figures, scale, pause), tiles, why);
  let last;
  scale.addEventListener('click', () => ask('scale', last));
  pause.addEventListener('click', () => ask(last.paused ? 'unpause' : 'pause', last));
  return {
    element,
    draw(pool) {
      last = pool;
      text(name, pool.name);
      text(profile, pool.profile);
      hidden(profile, pool.profile === pool.name);
      text(figures, poolFigures(pool));
      const words = pauseWords(pool, now()) ?? sizeReason(pool.why, now());
      text(why, words);
      hidden(why, !words);
      hidden(paused, !pool.paused);
      attribute(element, 'data-paused', Boolean(pool.paused));
      for (const button of [scale, pause]) hidden(button, !may('operator'));
      attribute(scale, 'aria-label', `Scale ${pool.name}`);
      text(pause, pool.paused ? 'Resume' : 'Pause');
      attribute(pause, 'aria-label', `${pool.paused ? 'Resume' : 'Pause'} ${pool.name}`);
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
      const running = lane.limit ? `${lane.running} of at most ${lane.limit}` : lane.running;
      text(figures, `${running} running, ${lane.queued} waiting`);
    },
  };
}
