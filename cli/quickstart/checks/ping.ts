/** Three echo requests from one container to another, none lost: to one of its own network, and through the router to one of another. */

import { addressOf, CLIENT, SERVER, TRAVELLER } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runIn } from '../nsenter.js';

const COUNT = 3;
/** What Linux sends with, less one for each router on the way. */
const TTL = 64;

/** @param hops routers on the way @throws Error where an answer is missing or has another TTL */
export async function ping(lab: Lab, from: string, to: string, family: 4 | 6, hops: number): Promise<string> {
  const address = addressOf(lab.endpoint(to), family);
  const command = ['ping', '-n', '-c', String(COUNT), '-i', '0.2', '-W', '2', address];
  const output = await runIn(lab.endpoint(from), command, lab.signal);
  const received = Number(/ (\d+) received/.exec(output)?.[1] ?? 0);
  if (received !== COUNT) throw new Error(`${received} of ${COUNT} answers from ${address}`);
  const ttl = Number(/ ttl=(\d+)/.exec(output)?.[1] ?? 0);
  if (ttl !== TTL - hops) throw new Error(`expected answers with TTL ${TTL - hops}, got ${ttl}`);
  const average = /= [\d.]+\/([\d.]+)\//.exec(output)?.[1] ?? '?';
  const way = hops === 0 ? '' : ` through the router (TTL ${ttl})`;
  return `${address}${way}, ${COUNT} of ${COUNT} answers, ${average} ms`;
}

export const pingIpv4 = (lab: Lab): Promise<string> => ping(lab, CLIENT, SERVER, 4, 0);
export const pingIpv6 = (lab: Lab): Promise<string> => ping(lab, CLIENT, SERVER, 6, 0);
export const routingIpv4 = (lab: Lab): Promise<string> => ping(lab, TRAVELLER, SERVER, 4, 1);
export const routingIpv6 = (lab: Lab): Promise<string> => ping(lab, TRAVELLER, SERVER, 6, 1);
