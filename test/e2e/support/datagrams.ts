/** Datagrams larger than any frame, whose payload must arrive as it was. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import { eventually } from './wait.js';

/** That receivers of datagrams have. */
export const DATAGRAM_PORT = 7001;

/** Sends a file as one UDP datagram per 9,000 bytes. Resolves to what arrived, in the order in which it arrived. */
export async function datagrams(
  t: ExecutionContext,
  from: Namespace,
  to: Namespace,
  address: string,
  data: Buffer,
): Promise<Buffer> {
  const directory = temporaryDirectory(t);
  const [source, target] = [join(directory, 'source'), join(directory, 'target')];
  writeFileSync(source, data);
  const six = address.includes(':');
  const listen = `${six ? 'UDP6' : 'UDP4'}-RECV:${DATAGRAM_PORT}`;
  const receiver = to.start('socat', '-u', '-b', '65536', listen, `CREATE:${target}`);
  await eventually('socat to listen', async () => (await to.exec('ss', '-Hlun')).includes(`:${DATAGRAM_PORT} `));
  await from.exec(
    'socat',
    '-u',
    '-b',
    '9000',
    `FILE:${source}`,
    six ? `UDP6:[${address}]:${DATAGRAM_PORT}` : `UDP4:${address}:${DATAGRAM_PORT}`,
  );
  await eventually('the datagrams to arrive', () => readFileSync(target).length >= data.length);
  await receiver.stop();
  return readFileSync(target);
}
