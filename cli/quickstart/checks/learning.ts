/** The FDB has each container's MAC behind its own port, and that of one on the second host behind the tunnel to there. */

import type { FdbView } from '../../../control/views.js';
import { HOSTS } from '../hosts.js';
import type { Lab } from '../lab.js';
import { SECOND_ROUTER } from '../outside.js';

export async function learning(lab: Lab): Promise<string> {
  const entries = await lab.client.get<FdbView[]>('/v1/fdb');
  for (const { name, network, onSecond } of HOSTS) {
    const { mac } = lab.endpoint(name);
    const expected = onSecond === true ? `vxlan:${network}:${SECOND_ROUTER.ipv4}` : name;
    const entry = entries.find((candidate) => candidate.mac === mac);
    if (entry?.port !== expected)
      throw new Error(`expected ${mac} behind ${expected}, got ${entry?.port ?? 'no entry'}`);
  }
  const away = HOSTS.filter(({ onSecond }) => onSecond === true).length;
  return `${HOSTS.length - away} MACs behind their own ports, ${away} behind the VTEP ${SECOND_ROUTER.ipv4}`;
}
