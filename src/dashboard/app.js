// Puts the page together: each part draws itself when what it shows has changed.

import { listen as listenToActions } from './actions.js';
import { takeToken } from './api.js';
import { drawHost } from './capacity.js';
import { drawDetail, listen as listenToDetail } from './detail.js';
import { drawEvents } from './events.js';
import { drawQueue, drawWaterfall } from './jobs.js';
import { start, watch } from './live.js';
import { drawContact, drawVerdict, drawWho } from './overview.js';
import { drawPools, listen as listenToPools } from './pools.js';
import { drawRunners, listen as listenToTable } from './runners.js';

takeToken();
watch(['contact', 'tick'], drawContact);
watch(['who'], drawWho);
watch(['fleet', 'contact', 'tick'], drawVerdict);
watch(['fleet', 'usage', 'who'], drawHost);
watch(['fleet', 'who', 'tick'], drawPools);
watch(['fleet', 'jobs', 'who', 'tick'], drawQueue);
watch(['jobs', 'who', 'tick'], drawWaterfall);
watch(['fleet', 'jobs', 'usage', 'tick'], drawRunners);
watch(['events', 'who'], drawEvents);
watch(['fleet', 'jobs', 'usage', 'who', 'tick'], drawDetail);
listenToActions();
listenToTable();
listenToDetail();
listenToPools();
start();
