/**
 * The containers `client` and `traveller`: fetch from each ADDRESS in turn, some times a second, each time over a new connection. UDP
 * echo on port 7.
 */

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEcho } from './echo.js';

const PAUSE_MS = 50;
const hosts = process.argv.slice(2);

/** Resolves when the answer has come or the connection has failed: then the next fetch tries again. */
function fetchOnce(host: string): Promise<void> {
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
  for (const host of hosts) {
    await fetchOnce(host);
    await sleep(PAUSE_MS);
  }
}
