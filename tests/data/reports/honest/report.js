// What the reports of test runners do: they keep settings, read archives, and load what is beside them.

const bytes = async (path, headers) => {
  const answer = await fetch(path, { headers });
  return [answer.status, [...new Uint8Array(await answer.arrayBuffer())]];
};

/** The shape of an archive: its first bytes, and how long it is. */
const archive = ([status, all]) => `${status} ${String.fromCharCode(...all.slice(0, 2))} ${all.length}`;

const color = (id) => getComputedStyle(document.getElementById(id)).color;

async function inWorker() {
  const worker = new Worker(URL.createObjectURL(new Blob(['postMessage(6 * 7)'])));
  return new Promise((resolve) => { worker.onmessage = ({ data }) => resolve(data); });
}

const picture = () => new Promise((resolve) => {
  const shot = document.getElementById('shot');
  const look = () => resolve(shot.naturalWidth);
  if (shot.complete) look();
  else shot.onload = look;
});

localStorage.setItem('theme', 'dark');
const template = document.getElementById('results').content.textContent;
window.works = {
  inline: window.inline,
  styles: [color('styled'), color('sheet')],
  picture: await picture(),
  storage: localStorage.getItem('theme'),
  results: archive(await bytes(template)),
  trace: archive(await bytes('data/trace.zip')),
  part: await bytes('data/trace.zip', { range: 'bytes=0-1' }),
  code: new Function('return 1 + 1')(),
  worker: await inWorker(),
};
