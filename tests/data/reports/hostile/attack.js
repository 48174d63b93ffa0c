// What a report of a hostile job would try. Each attack tells how it was kept from it, or what it
// got; `results` has all of them once `finished` is true. `?api=HOST:PORT&other=LABEL` says where
// the supervisor's API is, and the name of another run.

const asked = new URL(location.href).searchParams;
const API = `http://${asked.get('api')}`;
const LISTS = `http://localhost:${location.port}/reports/`;
const OTHER = `http://${asked.get('other')}.localhost:${location.port}/reports/ci/8/`;
const DOWN = `${API}/api/v1/down`;
const BODY = '{"mode": "now"}';
const PATIENCE = 4000;

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const text = async (answer) => `got ${answer.status}: ${(await answer.text()).slice(0, 60)}`;
/** What its own server has at an address; a refusal has nothing that anybody wants. */
async function found(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

const post = (more) => fetch(DOWN, { method: 'POST', body: BODY, mode: 'no-cors', ...more });

/** An element that loads something: refused when it says so, or says nothing. */
const loads = (tag, attributes) => new Promise((resolve, reject) => {
  const element = document.createElement(tag);
  element.onload = () => resolve('got it');
  element.onerror = () => reject(new Error('not loaded'));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  document.documentElement.append(element);
});

/** What a frame shows: nothing that is ours to read. */
const frame = (source) => new Promise((resolve, reject) => {
  const element = document.createElement('iframe');
  element.src = source;
  element.onload = () => {
    try {
      resolve(`got ${element.contentDocument.body.innerText.length} characters`);
    } catch (error) {
      reject(error);
    }
  };
  document.documentElement.append(element);
  setTimeout(() => reject(new Error('nothing came')), PATIENCE);
}).then((told) => (told === 'got 0 characters' ? Promise.reject(new Error(told)) : told));

/** A form in a frame or a window of its own. */
async function form(attributes, target) {
  const element = document.createElement('form');
  Object.assign(element, { method: 'post', enctype: 'text/plain', target, ...attributes });
  const field = document.createElement('input');
  Object.assign(field, { name: '{"mode": "now", "x": "', value: '"}' });
  element.append(field);
  document.documentElement.append(element);
  const refused = new Promise((resolve, reject) => {
    addEventListener('securitypolicyviolation', (event) => reject(new Error(event.violatedDirective)), { once: true });
  });
  element.submit();
  return Promise.race([refused, later(PATIENCE).then(() => 'nobody refused it')]);
}

/** A script in a place with an address of its own: what it tells. */
const elsewhere = (start) => new Promise((resolve, reject) => {
  const hear = ({ data }) => (String(data).startsWith('got') ? resolve(data) : reject(new Error(data)));
  start(hear);
  setTimeout(() => reject(new Error('nothing came')), PATIENCE);
});
const SCRIPT = `fetch('${API}/api/v1/fleet').then((it) => it.text()).then((it) => 'got ' + it.length)
  .catch((error) => 'refused: ' + error)
  .then((told) => fetch('${DOWN}', {method: 'POST', body: '${BODY}', mode: 'no-cors'})
    .then(() => 'got through', (error) => told + '; ' + error))`;

const ATTACKS = {
  'reads the fleet': async () => text(await fetch(`${API}/api/v1/fleet`)),
  'reads the fleet by another name': async () => text(await fetch(`${API.replace('127.0.0.1', 'localhost')}/api/v1/fleet`)),
  'follows the stream': () => new Promise((resolve, reject) => {
    const source = new EventSource(`${API}/api/v1/stream`);
    source.onopen = () => resolve('got it');
    source.onerror = () => reject(new Error('no stream'));
  }),
  'opens a socket': () => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${API.replace('http', 'ws')}/api/v1/stream`);
    socket.onopen = () => resolve('got it');
    socket.onerror = () => reject(new Error('no socket'));
  }),
  'takes the fleet down': async () => { await post(); return 'got through'; },
  'takes the fleet down with what the browser knows': async () => { await post({ credentials: 'include' }); return 'got through'; },
  'takes it down as it leaves': async () => { await post({ keepalive: true }); return 'got through'; },
  'takes it down by a beacon': async () => {
    const refused = new Promise((resolve, reject) => {
      addEventListener('securitypolicyviolation', (event) => reject(new Error(event.violatedDirective)), { once: true });
    });
    if (!navigator.sendBeacon(DOWN, BODY)) throw new Error('not sent');
    return Promise.race([refused, later(PATIENCE).then(() => 'nobody refused it')]);
  },
  'takes it down by a form in a frame': () => {
    const target = document.createElement('iframe');
    target.name = 'inside';
    document.documentElement.append(target);
    return form({ action: DOWN }, 'inside');
  },
  'takes it down by a form in a window': () => form({ action: DOWN }, '_blank'),
  'loads the API as a script': () => loads('script', { src: `${API}/api/v1/fleet` }),
  'loads the page\'s own scripts': () => loads('script', { type: 'module', src: `${API}/dashboard/api.js` }),
  'loads the API as a style': () => loads('link', { rel: 'stylesheet', href: `${API}/dashboard/style.css` }),
  'loads the API as a picture': () => loads('img', { src: `${API}/dashboard/icon.svg` }),
  'embeds the dashboard': () => frame(`${API}/`),
  'embeds the lists': () => frame(LISTS),
  'embeds another run': () => frame(OTHER),
  'reads the lists': async () => text(await fetch(LISTS)),
  'reads the lists through its own name': async () => text(await found('/reports/')),
  'reads another run': async () => text(await fetch(OTHER)),
  'reads another run through its own name': async () => text(await found('/reports/ci/8/index.html')),
  'climbs out of the store': async () => text(await found('/reports/ci/7/%2e%2e/%2e%2e/%2e%2e/etc/passwd')),
  'asks from a worker': () => elsewhere((hear) => {
    new Worker(URL.createObjectURL(new Blob([`${SCRIPT}.then(postMessage)`]))).onmessage = hear;
  }),
  'asks from a worker of its own address': () => elsewhere((hear) => {
    const worker = new Worker(`data:text/javascript,${encodeURIComponent(`${SCRIPT}.then(postMessage)`)}`);
    worker.onmessage = hear;
  }),
  'asks from a page in a page': () => elsewhere((hear) => {
    const element = document.createElement('iframe');
    element.srcdoc = `<script>${SCRIPT}.then((it) => parent.postMessage(it, '*'))</script>`;
    addEventListener('message', hear, { once: true });
    document.documentElement.append(element);
  }),
  'asks from a page of data': () => elsewhere((hear) => {
    const page = `<script>${SCRIPT}.then((it) => parent.postMessage(it, '*'))</script>`;
    const element = document.createElement('iframe');
    element.src = `data:text/html,${encodeURIComponent(page)}`;
    addEventListener('message', hear, { once: true });
    document.documentElement.append(element);
  }),
  'asks from a page of a blob': () => elsewhere((hear) => {
    const page = `<script>${SCRIPT}.then((it) => parent.postMessage(it, '*'))</script>`;
    const element = document.createElement('iframe');
    element.src = URL.createObjectURL(new Blob([page], { type: 'text/html' }));
    addEventListener('message', hear, { once: true });
    document.documentElement.append(element);
  }),
  'takes cookies': async () => {
    if (!document.cookie) throw new Error('there are none');
    return `got ${document.cookie}`;
  },
  'leaves a cookie for the API': async () => {
    document.cookie = 'token=mine; domain=localhost; path=/';
    document.cookie = 'token=mine; domain=127.0.0.1; path=/';
    if (!document.cookie) throw new Error('it may not');
    return `got ${document.cookie}`;
  },
  'takes the token of the dashboard': async () => {
    const found = [...Object.entries(sessionStorage), ...Object.entries(localStorage)];
    if (!found.length) throw new Error('there is nothing');
    return `got ${found}`;
  },
  'reaches who opened it': async () => {
    if (!window.opener) throw new Error('there is nobody');
    return `got ${window.opener.location}`;
  },
  'reaches the page around it': async () => {
    if (window.parent === window && window.top === window) throw new Error('there is none');
    return `got ${window.parent.location}`;
  },
  'learns where its reader came from': async () => {
    if (!document.referrer) throw new Error('nobody says');
    return `got ${document.referrer}`;
  },
  'reads the dashboard in a window': async () => {
    const opened = window.open(`${API}/`);
    if (!opened) throw new Error('no window');
    await later(PATIENCE / 2);
    if (opened.closed) throw new Error('cut off');
    return `got ${opened.document.body.innerText.length} characters`;
  },
  'reads the lists in a window': async () => {
    const opened = window.open(LISTS);
    if (!opened) throw new Error('no window');
    await later(PATIENCE / 2);
    if (opened.closed) throw new Error('cut off');
    return `got ${opened.document.body.innerText.length} characters`;
  },
  'serves everything under its name': async () => {
    await navigator.serviceWorker.register('worker.js', { scope: '/' });
    return 'got it';
  },
  'serves all reports': async () => {
    await navigator.serviceWorker.register('worker.js', { scope: '/reports/' });
    return 'got it';
  },
  'serves another run': async () => {
    await navigator.serviceWorker.register(`${OTHER}worker.js`);
    return 'got it';
  },
};

window.results = {};
(async () => {
  for (const [name, attack] of Object.entries(ATTACKS)) {
    const bounded = Promise.race([
      (async () => attack())(),
      later(3 * PATIENCE).then(() => { throw new Error('nothing came of it'); }),
    ]);
    window.results[name] = await bounded.catch((error) => `refused: ${error.message ?? error}`);
  }
  // What it may have: a worker for its own pages, which stays after it.
  await navigator.serviceWorker.register('worker.js');
  await navigator.serviceWorker.ready;
  window.finished = true;
})();
