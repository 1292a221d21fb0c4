/** The container `client`: fetches from ADDRESS some times a second, each time over a new connection. UDP echo on port 7. */

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEcho } from './echo.js';

const PAUSE_MS = 50;
const [, , host = ''] = process.argv;

/** Resolves when the answer has come or the connection has failed: then the next fetch tries again. */
function fetchOnce(): Promise<void> {
  return new Promise((resolve) => {
    const request = get({ host, agent: false, timeout: 2000 }, (response) => {
      response.on('close', resolve).resume();
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve());
  });
}

await startEcho();
console.log('ready');
for (;;) {
  await fetchOnce();
  await sleep(PAUSE_MS);
}
