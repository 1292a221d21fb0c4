/** A broadcast datagram from one container reaches all others: each of those that listen answers it. */

import { formatAddress, lastOf, parseSubnet } from '../../../control/config/address.js';
import { addressOf, CLIENT, PINGER, SERVER } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';

export async function broadcast(lab: Lab): Promise<string> {
  const asking = lab.endpoint(PINGER);
  const listening = [SERVER, CLIENT].map((name) => addressOf(lab.endpoint(name), 4));
  const cidr = asking.addresses.find((address) => !address.includes(':')) ?? '';
  const subnet = parseSubnet(cidr);
  const address = formatAddress({ family: 4, value: lastOf(subnet) });
  const output = await runProgramIn(asking, 'broadcast', [address, String(listening.length)], lab.signal);
  const answered = new Set(output.split('\n'));
  const missing = listening.filter((host) => !answered.has(host));
  if (missing.length > 0) throw new Error(`no answer to ${address} from ${missing.join(', ')}`);
  return `${address} was answered by ${listening.join(', ')}`;
}
