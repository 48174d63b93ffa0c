// Requests to the supervisor. A token comes in the address once and stays in this tab.

const KEY = 'slate-fleet-token';

/** Takes `#token=…` out of the address, so that nobody reads it over a shoulder or in a history. */
export function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(KEY, decodeURIComponent(found[1]));
  history.replaceState(null, '', location.pathname);
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const dropToken = () => sessionStorage.removeItem(KEY);

/** A refusal with the words that the command line prints. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  /** Whether another token would help. */
  get isAboutRights() {
    return this.status === 401 || this.status === 403;
  }
}

async function ask(path, { method = 'GET', body, signal, headers = {} } = {}) {
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const answer = await fetch(path, {
    method, headers, signal, cache: 'no-cache', credentials: 'omit', redirect: 'error',
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, problem.detail ?? `the supervisor answers ${answer.status}`);
}

export const read = async (path, signal) => (await ask(path, { signal })).json();
export const send = async (path, body) => (await ask(path, { method: 'POST', body })).json();

/** The chunks of an answer that goes on, as they come. */
export async function* chunks(path, signal, headers) {
  const reader = (await ask(path, { signal, headers })).body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The JSON documents of an answer with one per line. */
export async function* lines(path, signal) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks(path, signal)) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}
