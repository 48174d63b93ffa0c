// Answers from the archive.

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (url.pathname.endsWith('/contexts')) event.respondWith(length(url.searchParams.get('trace')));
  if (url.pathname.endsWith('/snapshot/1')) {
    event.respondWith(new Response('<p>as it was</p>', { headers: { 'content-type': 'text/html' } }));
  }
});

async function length(trace) {
  const archive = await (await fetch(trace)).arrayBuffer();
  return new Response(String(archive.byteLength));
}
