/**
 * The containers `client`, `hidden`, `traveller` and `courier`: fetch from each ADDRESS or ADDRESS:PORT (IPv4) in turn, some times a second,
 * each time over a new connection. UDP echo on port 7.
 */

import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEcho } from './echo.js';
import { HTTP_PORT } from './ports.js';

const PAUSE_MS = 50;
const targets = process.argv.slice(2).map((text) => text.split(':'));

/** Resolves when the answer has come or the connection has failed: then the next fetch tries again. */
function fetchOnce(host: string, port: string): Promise<void> {
  return new Promise((resolve) => {
    const request = get({ host, port, agent: false, timeout: 2000 }, (response) => {
      response.on('close', resolve).resume();
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve());
  });
}

await startEcho();
console.log('ready');
for (;;) {
  for (const [host = '', port = String(HTTP_PORT)] of targets) {
    await fetchOnce(host, port);
    await sleep(PAUSE_MS);
  }
}
