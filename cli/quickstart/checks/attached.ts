/** The daemon holds a port that is up for each container. */

import type { EndpointView, PortView } from '../../../control/views.js';
import { HOSTS } from '../hosts.js';
import type { Lab } from '../lab.js';

export async function attached(lab: Lab): Promise<string> {
  const endpoints = await lab.client.get<EndpointView[]>('/v1/endpoints');
  const ports = new Set((await lab.client.get<PortView[]>('/v1/ports')).map(({ name }) => name));
  const missing = HOSTS.filter(
    ({ name }) => !ports.has(name) || !endpoints.some((endpoint) => endpoint.name === name && endpoint.state === 'up'),
  );
  if (missing.length > 0) throw new Error(`not attached: ${missing.map(({ name }) => name).join(', ')}`);
  return HOSTS.map(({ name }) => name).join(', ');
}
