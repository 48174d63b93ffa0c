// Begins the page, and begins again where that broke off: on a machine with containers the network
// changes with each of them, and browsers then drop what they are loading.

const AGAIN = 1500;

import('/dashboard/app.js').catch(() => setTimeout(() => location.reload(), AGAIN));
