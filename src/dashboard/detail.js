// One runner or one job, with what can be done about it: the part after `#/` names it.

import { read } from './api.js';
import { ask } from './actions.js';
import { attribute, byId, h, hidden, keyed, text } from './dom.js';
import { known, may, now } from './live.js';
import { show } from './log.js';
import { age, bytes, clock, command, cpus, isHeld, isOver, jobName, kind, span, state, story } from './words.js';

let open = null;

export function listen() {
  const dialog = byId('detail');
  addEventListener('hashchange', follow);
  byId('detail-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    open?.aborter.abort();
    open = null;
    if (location.hash.startsWith('#/')) history.replaceState(null, '', location.pathname);
  });
  // A click beside the dialog is on the dialog itself.
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  follow();
}

function follow() {
  const name = /^#\/(.+)$/.exec(location.hash)?.[1];
  if (!name) return;
  open?.aborter.abort();
  const job = /^job-(\d+)$/.exec(name);
  const aborter = new AbortController();
  open = job ? jobPage(Number(job[1]), aborter) : runnerPage(decodeURIComponent(name), aborter);
  byId('detail-body').replaceChildren(open.element);
  const dialog = byId('detail');
  if (!dialog.open) dialog.showModal();
  drawDetail();
}

export function drawDetail() {
  open?.draw();
}

/** Facts as a list of terms; those without a value are left out. */
function facts() {
  const element = h('dl');
  return {
    element,
    draw(pairs) {
      keyed(element, pairs.filter(([, value]) => value !== null && value !== undefined && value !== ''), ([term]) => term, ([term]) => {
        const value = h('dd');
        return { element: h('div', {}, h('dt', {}, term), value), draw: ([, it]) => drawValue(value, it) };
      });
    },
  };
}

function drawValue(element, value) {
  if (value instanceof Node) {
    if (element.firstChild !== value) element.replaceChildren(value);
  } else text(element, value);
}

function runnerPage(name, aborter) {
  const list = facts();
  const gone = h('p', { class: 'none' }, 'There is no runner of this name any more.');
  const button = (action, words) => h('button', { type: 'button', click: () => ask(action, current()), 'data-action': action }, words);
  const buttons = {
    cordon: button('cordon', 'Cordon'), resume: button('resume', 'Resume'),
    restart: button('restart', 'Restart'), force: button('force', 'Restart now'),
  };
  const row = h('div', { class: 'actions' }, ...Object.values(buttons));
  const current = () => known.fleet?.runners.find((it) => it.name === name);
  const jobLink = h('a');
  return {
    aborter,
    element: h('div', {}, gone, list.element, row),
    draw() {
      const it = current();
      text(byId('detail-title'), name);
      hidden(gone, Boolean(it) || !known.fleet);
      hidden(row, !it || !may('operator'));
      hidden(list.element, !it);
      if (!it) return;
      text(buttons.cordon, it.job ? 'Drain' : 'Cordon');
      hidden(buttons.cordon, it.cordon === 'closed');
      hidden(buttons.resume, it.cordon !== 'closed' && kind(it) !== 'error');
      hidden(buttons.force, !it.job);
      attribute(jobLink, 'href', it.job ? `#/${jobName(it.job)}` : null);
      text(jobLink, it.job ? jobName(it.job) : '');
      list.draw(runnerFacts(it, jobLink));
    },
  };
}

function runnerFacts(it, jobLink) {
  const used = known.usage.get(it.id);
  const busy = used?.cpus ?? null;
  const last = it.last_failure;
  return [
    ['State', `${state(it.status)} for ${age(now() - it.since)}${it.cordon === 'closed' ? ', takes no new job' : ''}`],
    ['Reason', it.reason],
    ['Job', it.job ? jobLink : null],
    ['Task', it.task],
    ['Pool', it.pool],
    ['Profile', it.downgrade ? `${it.profile}, in the place of ${it.downgrade.from} for a while` : it.profile],
    ['Labels', it.labels.join(', ')],
    ['CPU', busy === null ? `${cpus(it.cpus)} at most` : `${cpus(busy)} of ${cpus(it.cpus)}`],
    ['Memory', used?.memory ? `${bytes(used.memory)} of ${bytes(it.memory)}` : `${bytes(it.memory)} at most`],
    ['GPU', it.gpu],
    ['Health', it.health],
    ['Forge', it.forge ? `${it.forge.name ?? 'not registered'} at ${it.forge.scope}` : null],
    ['Waits for you', it.forge?.hold],
    ['Jobs done', String(it.tasks_completed)],
    ['Image', it.image],
    ['Container', it.container ? `${it.container_name ?? ''} ${it.container.slice(0, 12)}`.trim() : null],
    ['Last failure', last ? `${last.cause}, ${age(now() - last.at)} ago${last.next_try ? `; next try in ${age(last.next_try - now())}` : ''}` : null],
  ];
}

function jobPage(id, aborter) {
  const list = facts();
  const problem = h('p', { class: 'none', hidden: true });
  const cancel = h('button', { type: 'button', 'data-danger': true, click: () => ask('cancel', job) }, 'Cancel the job');
  const hold = h('button', { type: 'button', 'data-action': 'hold', click: () => ask(isHeld(job) ? 'release' : 'hold', job) });
  const row = h('div', { class: 'actions' }, hold, cancel);
  const nodes = { command: h('code'), runner: h('a'), report: h('a', { target: '_blank', rel: 'noopener noreferrer' }) };
  const output = h('code');
  const said = h('p', { class: 'note', role: 'status' });
  const box = h('pre', { class: 'log', tabindex: '0', role: 'region', 'aria-label': `Output of ${jobName(id)}` }, output);
  let job = null;
  let reports = null;
  const page = {
    aborter,
    element: h('div', {}, problem, list.element, row, h('h3', {}, 'Output'), box, said),
    draw() {
      text(byId('detail-title'), jobName(id));
      hidden(row, !job || isOver(job) || !may('operator'));
      hidden(hold, job?.status !== 'queued');
      text(hold, job && isHeld(job) ? 'Release' : 'Hold');
      if (job) list.draw(jobFacts(job, reports, nodes));
    },
  };
  const look = async () => {
    while (!aborter.signal.aborted) {
      try {
        // The first answer comes at once; the next ones when it is over, or after a second.
        job = await read(`/api/v1/jobs/${jobName(id)}${job ? '?wait_seconds=1' : ''}`, aborter.signal);
        hidden(problem, true);
      } catch (error) {
        if (aborter.signal.aborted) return;
        text(problem, may('viewer') ? error.message : 'Jobs are shown with a token: slate-fleet dashboard opens this page with one.');
        hidden(problem, false);
        if (error.status) return;
        await new Promise((resolve) => { setTimeout(resolve, 1000); });
      }
      page.draw();
      if (job && isOver(job)) return;
    }
  };
  look();
  reportServer().then((url) => {
    reports = url;
    if (!aborter.signal.aborted) page.draw();
  });
  show(id, output, (words) => text(said, words), aborter.signal);
  return page;
}

let server = null;

/** Where the report server is; null without one. */
function reportServer() {
  server ??= read('/api/v1/reports?limit=1').then(({ url }) => url).catch(() => { server = null; return null; });
  return server;
}

/** The nodes are made once: who has a link under the focus keeps it while its page goes on. */
function jobFacts(job, reports, nodes) {
  text(nodes.command, command(job));
  attribute(nodes.runner, 'href', `#/${job.runner_name}`);
  text(nodes.runner, job.runner_name);
  attribute(nodes.report, 'href', reports && `${reports}/reports/${job.reports}/`);
  text(nodes.report, job.reports);
  const attempts = job.attempts.length > 1
    ? job.attempts.map((it) => `${it.number} on ${it.runner_name}: ${it.end ? it.end.reason ?? state(it.end.status) : 'under way'}`).join('; ') : null;
  return [
    ['Command', nodes.command],
    ['State', story(job, now())],
    [isOver(job) ? 'Why' : 'Waits because', job.reason],
    ['Exit code', job.exit_code === null ? null : String(job.exit_code)],
    ['Fault', job.fault],
    ['Runner', job.runner_name ? nodes.runner : null],
    ['Pool', job.spec.pool], ['Lane', job.spec.lane], ['Profile', job.profile],
    ['Workflow', job.spec.workflow], ['Reports', nodes.report],
    ['Submitted', `by ${job.spec.submitter} at ${clock(job.queued_at)}`],
    ['Given out after', job.assigned_at ? span(job.assigned_at - job.queued_at) : null],
    ['Attempts', attempts],
  ];
}
