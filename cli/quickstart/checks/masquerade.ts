/**
 * A network behind address translation: to the host outside its container is the uplink's address, over both families; and nothing from
 * there reaches the container at its own address, though the host has a route to it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { PortView } from '../../../control/views.js';
import { addressOf, HIDDEN } from '../hosts.js';
import { HTTP_PORT } from '../inside/ports.js';
import type { Lab } from '../lab.js';
import { runIn, runProgramIn } from '../nsenter.js';
import { OUTSIDE, ROUTER } from '../outside.js';

const COUNT = 3;
const REASON = 'not_published';
const POLL_MS = 20;
const PATIENCE_MS = 2000;

async function counted(lab: Lab): Promise<number> {
  const ports = await lab.client.get<PortView[]>('/v1/ports');
  return ports.find(({ name }) => name === 'uplink')?.rxDrops[REASON] ?? 0;
}

/** @throws Error where any of the pings is answered, or dropped for another reason */
async function unreachable(lab: Lab, address: string): Promise<void> {
  const before = await counted(lab);
  const ping = ['ping', '-n', '-c', String(COUNT), '-i', '0.2', '-W', '1', address];
  const output = await runIn(lab.outside, ['sh', '-c', '"$@" || true', 'sh', ...ping], lab.signal);
  const received = / (\d+) received/.exec(output)?.[1];
  let dropped = 0;
  for (let waited = 0; dropped < COUNT && waited < PATIENCE_MS; waited += POLL_MS) {
    dropped = (await counted(lab)) - before;
    if (dropped < COUNT) await sleep(POLL_MS, undefined, { signal: lab.signal });
  }
  if (received === '0' && dropped === COUNT) return;
  const what = `${COUNT} pings from outside to ${address}`;
  throw new Error(`${what}: ${received ?? 'unknown'} answered, ${dropped} counted as ${REASON}`);
}

export async function masquerade(lab: Lab): Promise<string> {
  const container = lab.endpoint(HIDDEN);
  for (const family of ['ipv4', 'ipv6'] as const) {
    const args = [OUTSIDE[family], String(HTTP_PORT)];
    const seen = (await runProgramIn(container, 'who', args, lab.signal)).trim();
    if (seen !== ROUTER[family]) throw new Error(`expected ${HIDDEN} to be ${ROUTER[family]} outside, got ${seen}`);
  }
  const own = addressOf(container, 4);
  await unreachable(lab, own);
  const outside = `${HIDDEN} is ${ROUTER.ipv4} and ${ROUTER.ipv6} outside`;
  return `${outside}; ${COUNT} of ${COUNT} pings from there to ${own} dropped as ${REASON}`;
}
