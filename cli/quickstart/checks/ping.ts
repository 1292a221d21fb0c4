/** Three echo requests from one container to another, none lost. */

import { addressOf, CLIENT, SERVER } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runIn } from '../nsenter.js';

const COUNT = 3;

async function ping(lab: Lab, family: 4 | 6): Promise<string> {
  const address = addressOf(lab.endpoint(SERVER), family);
  const command = ['ping', '-n', '-c', String(COUNT), '-i', '0.2', '-W', '2', address];
  const output = await runIn(lab.endpoint(CLIENT), command, lab.signal);
  const received = Number(/ (\d+) received/.exec(output)?.[1] ?? 0);
  if (received !== COUNT) throw new Error(`${received} of ${COUNT} answers from ${address}`);
  const average = /= [\d.]+\/([\d.]+)\//.exec(output)?.[1] ?? '?';
  return `${address}, ${COUNT} of ${COUNT} answers, ${average} ms`;
}

export const pingIpv4 = (lab: Lab): Promise<string> => ping(lab, 4);
export const pingIpv6 = (lab: Lab): Promise<string> => ping(lab, 6);
