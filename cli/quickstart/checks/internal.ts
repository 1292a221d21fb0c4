/**
 * A container of an internal network gets out no way: it has no default route; with one that it makes itself, which root in a container
 * can, its packets end at the router under the reason `internal`; and so do those that others send to it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { EndpointView, PortView } from '../../../control/views.js';
import { addressOf, CLIENT, SERVER, VAULT } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runIn } from '../nsenter.js';
import { OUTSIDE } from '../outside.js';

const COUNT = 3;
const REASON = 'internal';
const POLL_MS = 20;
const PATIENCE_MS = 2000;

async function counted(lab: Lab, port: string): Promise<number> {
  const ports = await lab.client.get<PortView[]>('/v1/ports');
  return ports.find(({ name }) => name === port)?.rxDrops[REASON] ?? 0;
}

/** Each of the pings is dropped under the reason, and none is answered. @throws Error where it is otherwise */
async function refused(lab: Lab, from: EndpointView, address: string): Promise<void> {
  const before = await counted(lab, from.name);
  const ping = ['ping', '-n', '-c', String(COUNT), '-i', '0.2', '-W', '1', address];
  const output = await runIn(from, ['sh', '-c', '"$@" || true', 'sh', ...ping], lab.signal);
  const received = / (\d+) received/.exec(output)?.[1];
  let dropped = 0;
  for (let waited = 0; dropped < COUNT && waited < PATIENCE_MS; waited += POLL_MS) {
    dropped = (await counted(lab, from.name)) - before;
    if (dropped < COUNT) await sleep(POLL_MS, undefined, { signal: lab.signal });
  }
  if (received === '0' && dropped === COUNT) return;
  const what = `${COUNT} pings from ${from.name} to ${address}`;
  throw new Error(`${what}: ${received ?? 'unknown'} answered, ${dropped} counted as ${REASON}`);
}

export async function internal(lab: Lab): Promise<string> {
  const [vault, client, server] = [VAULT, CLIENT, SERVER].map((name) => lab.endpoint(name)) as EndpointView[];
  const gateway = (await lab.networks()).find(({ name }) => name === vault.network)?.gateways[0] ?? '';
  const given = await runIn(vault, ['ip', 'route', 'show', 'default'], lab.signal);
  if (given !== '') throw new Error(`${vault.name} was given ${given.trim()}`);
  const targets = [addressOf(server, 4), OUTSIDE.ipv4];
  await runIn(vault, ['ip', 'route', 'add', 'default', 'via', gateway], lab.signal);
  try {
    for (const address of targets) await refused(lab, vault, address);
  } finally {
    await runIn(vault, ['ip', 'route', 'del', 'default', 'via', gateway], lab.signal);
  }
  await refused(lab, client, addressOf(vault, 4));
  const total = COUNT * (targets.length + 1);
  return `${total} of ${total} pings dropped as ${REASON}: ${vault.name} to ${targets.join(' and ')}, ${client.name} to ${vault.name}`;
}
