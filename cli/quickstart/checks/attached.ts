/** The daemons hold a port that is up for each of their containers. */

import type { EndpointView, PortView } from '../../../control/views.js';
import { HOSTS } from '../hosts.js';
import type { Lab } from '../lab.js';
import type { Switch } from '../switch.js';

/** Names of what is up and has a port. */
async function attachedTo({ client }: Switch): Promise<string[]> {
  const endpoints = await client.get<EndpointView[]>('/v1/endpoints');
  const ports = new Set((await client.get<PortView[]>('/v1/ports')).map(({ name }) => name));
  return endpoints.filter(({ name, state }) => state === 'up' && ports.has(name)).map(({ name }) => name);
}

export async function attached(lab: Lab): Promise<string> {
  const names = new Map([
    [lab.first, await attachedTo(lab.first)],
    [lab.second, await attachedTo(lab.second)],
  ]);
  const missing = HOSTS.filter((spec) => names.get(lab.switchOf(spec))?.includes(spec.name) !== true);
  if (missing.length > 0) throw new Error(`not attached: ${missing.map(({ name }) => name).join(', ')}`);
  return `${names.get(lab.first)?.join(', ')}; on the second host ${names.get(lab.second)?.join(', ')}`;
}
