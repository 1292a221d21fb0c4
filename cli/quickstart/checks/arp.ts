/** A neighbor that was forgotten is found again: its ARP request is flooded, the answer comes back to the one who asked. */

import { addressOf, PINGER, SERVER } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runIn } from '../nsenter.js';

interface Neighbor {
  readonly lladdr?: string;
}

export async function arp(lab: Lab): Promise<string> {
  const asking = lab.endpoint(PINGER);
  const target = lab.endpoint(SERVER);
  const address = addressOf(target, 4);
  const device = asking.interface;
  await runIn(asking, ['ip', '-4', 'neigh', 'flush', 'to', address, 'dev', device], lab.signal);
  await runIn(asking, ['ping', '-n', '-c', '1', '-W', '3', address], lab.signal);
  const shown = await runIn(asking, ['ip', '-4', '-json', 'neigh', 'show', 'to', address, 'dev', device], lab.signal);
  const [neighbor] = JSON.parse(shown) as Neighbor[];
  if (neighbor?.lladdr !== target.mac) {
    throw new Error(`expected ${address} at ${target.mac}, got ${neighbor?.lladdr ?? 'no answer'}`);
  }
  return `${address} is at ${target.mac}`;
}
