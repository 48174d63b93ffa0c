// What an operator may do, each with a question before it.

import { byId, h, hidden, text } from './dom.js';
import { send } from './api.js';
import { command, count, jobName } from './words.js';

/** Each action: what is asked, what follows from it, the word on the button, and the request. */
const ACTIONS = {
  cordon: (it) => ({
    title: it.job ? `Drain ${it.name}?` : `Cordon ${it.name}?`,
    words: it.job
      ? `${jobName(it.job)} runs to its end; no new job comes after it.`
      : 'It gets no new job until you resume it.',
    verb: it.job ? 'Drain' : 'Cordon',
    send: () => send('/api/v1/cordon', { runners: [it.name], to: 'closed' }),
    done: it.job ? `${it.name} drains` : `${it.name} is cordoned`,
  }),
  resume: (it) => ({
    title: `Resume ${it.name}?`,
    words: 'It takes jobs again; one that failed is tried again at once.',
    verb: 'Resume',
    send: () => send('/api/v1/cordon', { runners: [it.name], to: 'open' }),
    done: `${it.name} takes jobs again`,
  }),
  restart: (it) => ({
    title: `Restart ${it.name}?`,
    words: it.job ? `Its container is replaced after ${jobName(it.job)} has ended.` : 'Its container is replaced now.',
    verb: 'Restart',
    send: () => send('/api/v1/restart', { runners: [it.name] }),
    done: `${it.name} is being replaced`,
  }),
  force: (it) => ({
    title: `Take ${it.name} from its job?`,
    words: `${jobName(it.job)} loses its runner now, and is tried again on another one unless its retries are used up.`,
    verb: 'Restart now',
    danger: true,
    send: () => send('/api/v1/restart', { runners: [it.name], when: 'now' }),
    done: `${it.name} is being replaced`,
  }),
  cancel: (job) => ({
    title: `Cancel ${jobName(job.id)}?`,
    words: `${command(job)} — it ends and is not tried again.`,
    verb: 'Cancel the job',
    danger: true,
    send: () => send(`/api/v1/jobs/${jobName(job.id)}/cancel`, {}),
    done: `${jobName(job.id)} is being cancelled`,
  }),
  scale: (pool) => {
    const number = h('input', { type: 'number', min: '0', max: '10000', value: pool.desired, id: 'confirm-number', required: true });
    return {
      title: `Scale ${pool.name}?`,
      words: h('label', {}, 'Runners: ', number, ` (now ${pool.desired}, by the file ${pool.min === pool.max ? pool.min : `${pool.min} to ${pool.max}`}). Busy runners finish their jobs first.`),
      focus: number,
      verb: 'Scale',
      send: () => {
        if (!number.checkValidity()) throw new Error('give a whole number of runners from 0 to 10000');
        return send('/api/v1/scale', { pools: { [pool.name]: number.valueAsNumber } });
      },
      done: `${pool.name} is being scaled`,
    };
  },
  hold: (job) => ({
    title: `Hold ${jobName(job.id)}?`,
    words: `${command(job)} — it does not start before you release it, and keeps its place.`,
    verb: 'Hold',
    send: () => send('/api/v1/jobs/hold', { jobs: [job.id] }),
    done: `${jobName(job.id)} is on hold`,
  }),
  release: (job) => ({
    title: `Release ${jobName(job.id)}?`,
    words: `${command(job)} — it waits for a runner again, at its old place.`,
    verb: 'Release',
    send: () => send('/api/v1/jobs/release', { jobs: [job.id] }),
    done: `${jobName(job.id)} waits for a runner again`,
  }),
  pause: (pool) => ({
    title: `Pause ${pool?.name ?? 'all pools'}?`,
    words: 'Nothing new begins there, and what runs goes on. Jobs wait until you resume it.',
    verb: 'Pause',
    send: () => send('/api/v1/pause', { pools: pool ? [pool.name] : [], to: 'closed' }),
    done: `${pool?.name ?? 'every pool'} is paused`,
  }),
  unpause: (pool) => ({
    title: `Resume ${pool?.name ?? 'all pools'}?`,
    words: 'Jobs begin there again.',
    verb: 'Resume',
    send: () => send('/api/v1/pause', { pools: pool ? [pool.name] : [], to: 'open' }),
    done: `${pool?.name ?? 'every pool'} takes jobs again`,
  }),
  'close-card': (card) => ({
    title: `Close GPU ${card.index}?`,
    words: `Nothing new is placed on it; ${count(card.leases.length, 'runner')} there ${card.leases.length === 1 ? 'goes' : 'go'} on.`,
    verb: 'Close',
    send: () => send('/api/v1/cordon', { gpus: [card.uuid], to: 'closed' }),
    done: `GPU ${card.index} is closed`,
  }),
  'open-card': (card) => ({
    title: `Open GPU ${card.index}?`,
    words: `It was closed: ${card.cordon}. Runners are placed on it again.`,
    verb: 'Open',
    send: () => send('/api/v1/cordon', { gpus: [card.uuid], to: 'open' }),
    done: `GPU ${card.index} takes runners again`,
  }),
};

let asked = null;

/** Asks whether an action is meant, and does it on a yes. */
export function ask(name, what) {
  asked = ACTIONS[name](what);
  text(byId('confirm-title'), asked.title);
  byId('confirm-words').replaceChildren(asked.words);
  text(byId('confirm-yes'), asked.verb);
  byId('confirm-yes').toggleAttribute('data-danger', Boolean(asked.danger));
  hidden(byId('confirm-error'), true);
  byId('confirm').showModal();
  (asked.focus ?? byId('confirm-no')).focus();
}

async function act() {
  const [yes, error] = [byId('confirm-yes'), byId('confirm-error')];
  yes.disabled = true;
  hidden(error, true);
  try {
    await asked.send();
    byId('confirm').close();
    tell(asked.done);
  } catch (problem) {
    text(error, `Not done: ${problem.message}`);
    hidden(error, false);
  } finally {
    yes.disabled = false;
  }
}

let gone;

/** Says at the foot of the page what was done. */
function tell(words) {
  const done = byId('done');
  clearTimeout(gone);
  text(done, words);
  done.classList.add('shown');
  gone = setTimeout(() => done.classList.remove('shown'), 6000);
}

export function listen() {
  byId('confirm-no').addEventListener('click', () => byId('confirm').close());
  byId('confirm-yes').addEventListener('click', act);
  byId('confirm').querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault();
    act();
  });
}
