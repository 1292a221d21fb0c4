/** The FDB has each container's MAC behind its own port. */

import type { FdbView } from '../../../control/views.js';
import type { Lab } from '../lab.js';

export async function learning(lab: Lab): Promise<string> {
  const entries = await lab.client.get<FdbView[]>('/v1/fdb');
  for (const { name, mac } of lab.endpoints) {
    const entry = entries.find((candidate) => candidate.mac === mac);
    if (entry?.port !== name) throw new Error(`expected ${mac} behind ${name}, got ${entry?.port ?? 'no entry'}`);
  }
  return `${lab.endpoints.length} MACs behind their own ports`;
}
