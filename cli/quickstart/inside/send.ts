/** Sends to ADDRESS PORT for MILLISECONDS as fast as it goes; prints the bytes and the seconds until all were taken as JSON. */

import { once } from 'node:events';
import { connect } from 'node:net';

const CHUNK = Buffer.alloc(256 * 1024, 0x5a);
const [, , host = '', port = '', milliseconds = ''] = process.argv;

async function send(): Promise<{ bytes: number; seconds: number }> {
  const connection = connect(Number(port), host);
  await once(connection, 'connect');
  let answer = '';
  connection.setEncoding('utf8').on('data', (text: string) => {
    answer += text;
  });
  const closed = once(connection, 'close');
  const start = process.hrtime.bigint();
  const deadline = start + BigInt(milliseconds) * 1_000_000n;
  let bytes = 0;
  while (process.hrtime.bigint() < deadline) {
    bytes += CHUNK.length;
    if (!connection.write(CHUNK)) await once(connection, 'drain');
  }
  connection.end();
  await closed;
  if (Number(answer) !== bytes) throw new Error(`sent ${bytes} bytes, ${answer || 'none'} arrived`);
  return { bytes, seconds: Number(process.hrtime.bigint() - start) / 1e9 };
}

try {
  console.log(JSON.stringify(await send()));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
