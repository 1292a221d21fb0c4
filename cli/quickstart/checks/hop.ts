/**
 * What traceroute shows: a packet whose TTL or hop limit ends at the router is answered by the gateway of the sender's network, and one
 * with one hop more arrives.
 */

import { addressOf, SERVER, TRAVELLER } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runIn } from '../nsenter.js';

/** Who answered a packet with so many hops to go. @throws Error where nobody did */
async function answerer(lab: Lab, address: string, hops: number): Promise<string> {
  const command = ['ping', '-n', '-c', '1', '-W', '2', '-t', String(hops), address];
  // An error that a router sends makes ping's exit code 1, as no answer does; the output tells them apart.
  const output = await runIn(lab.endpoint(TRAVELLER), ['sh', '-c', '"$@" || true', 'sh', ...command], lab.signal);
  const found = /^(?:From|\d+ bytes from) ([\da-f.:]+?):? /m.exec(output)?.[1];
  if (found === undefined) throw new Error(`nobody answered a packet to ${address} with TTL ${hops}`);
  return found;
}

export async function hop(lab: Lab): Promise<string> {
  const { network } = lab.endpoint(TRAVELLER);
  const gateways = (await lab.networks()).find(({ name }) => name === network)?.gateways ?? [];
  const seen: string[] = [];
  for (const family of [4, 6] as const) {
    const address = addressOf(lab.endpoint(SERVER), family);
    const gateway = gateways.find((one) => one.includes(':') === (family === 6));
    for (const [index, expected] of [gateway, address].entries()) {
      const found = await answerer(lab, address, index + 1);
      if (found !== expected) throw new Error(`expected ${expected} as hop ${index + 1} to ${address}, got ${found}`);
    }
    seen.push(`${gateway} > ${address}`);
  }
  return seen.join(', ');
}
