/**
 * Asks the HTTP server at ADDRESS PORT TIMES in a row, each time over a new connection, who it is; prints how often each address has
 * answered, as JSON. Ends with 1 at the first request that fails.
 */

import { get } from 'node:http';
import { SERVED_BY } from './ports.js';

const [, , host = '', port = '', times = ''] = process.argv;

function ask(): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ host, port, path: SERVED_BY, agent: false, timeout: 5000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('no answer in 5 s')));
    request.on('error', reject);
  });
}

const answers: Record<string, number> = {};
let asked = 0;
try {
  while (asked < Number(times)) {
    asked++;
    const address = await ask();
    answers[address] = (answers[address] ?? 0) + 1;
  }
  console.log(JSON.stringify(answers));
} catch (error) {
  console.error(`request ${asked} of ${times}: ${(error as Error).message}`);
  process.exitCode = 1;
}
