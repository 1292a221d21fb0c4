/**
 * The switch is killed in the middle of a translated connection, as by `kill -9`, and another is started: the connection goes on, and no
 * byte of it is lost; and the second host is reached as before.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { addressOf, COURIER, DEPOT, HIDDEN } from '../hosts.js';
import { SINK_PORT } from '../inside/ports.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';
import { OUTSIDE } from '../outside.js';

/** How long data is sent, and after how much of that time the switch is killed. */
const SENDING_MS = 2000;
const BEFORE_MS = 500;

export async function killed(lab: Lab): Promise<string> {
  const args = [OUTSIDE.ipv4, String(SINK_PORT), String(SENDING_MS)];
  const sent = runProgramIn(lab.endpoint(HIDDEN), 'send', args, lab.signal);
  // Awaited below; until then its failure is nobody's.
  sent.catch(() => undefined);
  await sleep(BEFORE_MS, undefined, { signal: lab.signal });
  const milliseconds = await lab.first.replaceDaemon();
  const { bytes } = JSON.parse(await sent) as { bytes: number };
  await runProgramIn(lab.endpoint(COURIER), 'fetch', [addressOf(lab.endpoint(DEPOT), 4)], lab.signal);
  const what = `killed in the middle of a connection of ${HIDDEN}`;
  return `${what}: back in ${milliseconds.toFixed(0)} ms, ${(bytes / 1e6).toFixed(0)} MB, all arrived; ${DEPOT} is reached`;
}
