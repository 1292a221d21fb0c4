/** Fetches from ADDRESS (at PORT; 80 unless given) once, compares every byte and prints the milliseconds that it took. */

import { get } from 'node:http';
import { PAYLOAD } from './payload.js';
import { HTTP_PORT } from './ports.js';

const [, , host = '', port = String(HTTP_PORT)] = process.argv;
const start = process.hrtime.bigint();

const body = await new Promise<Buffer>((resolve, reject) => {
  const request = get({ host, port, agent: false, timeout: 5000 }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => resolve(Buffer.concat(chunks)));
    response.on('error', reject);
  });
  request.on('timeout', () => request.destroy(new Error(`no answer from ${host} in 5 s`)));
  request.on('error', reject);
}).catch((error: Error) => error);

if (body instanceof Error) {
  console.error(body.message);
  process.exitCode = 1;
} else if (!body.equals(PAYLOAD)) {
  console.error(`expected ${PAYLOAD.length} bytes of the known pattern, got ${body.length} others`);
  process.exitCode = 1;
} else {
  console.log((Number(process.hrtime.bigint() - start) / 1e6).toFixed(1));
}
