// Answers whatever it is asked for, for ever.

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => event.respondWith(new Response('taken over', { headers: { 'content-type': 'text/html' } })));
