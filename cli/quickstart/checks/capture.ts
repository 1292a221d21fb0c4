/** `tapline capture` down a pipe, while there is traffic, gives a whole pcapng file. */

import { Child, taplineCommand } from '../child.js';
import type { Lab } from '../lab.js';
import { readPcapng } from './pcapng.js';

const FRAMES = 50;
/** The containers send some hundred frames a second. */
const PATIENCE_MS = 10_000;

export async function capture(lab: Lab): Promise<string> {
  const { name } = await lab.network();
  const command = new Child('the capture', taplineCommand('capture', name, '--count', String(FRAMES)), lab.socket);
  const chunks: Buffer[] = [];
  command.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const timer = setTimeout(() => void command.stop(), PATIENCE_MS);
  let how: string;
  try {
    how = await command.orAborted(lab.signal);
  } finally {
    clearTimeout(timer);
    await command.stop();
  }
  if (how !== 'exit code 0') throw new Error(command.endLine(how));
  const { frames, interfaces } = readPcapng(Buffer.concat(chunks));
  if (frames !== FRAMES) throw new Error(`expected ${FRAMES} frames within ${PATIENCE_MS / 1000} s, got ${frames}`);
  return `${frames} frames of ${interfaces} ports, ${Buffer.concat(chunks).length} bytes of pcapng`;
}
