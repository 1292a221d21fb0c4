/** A container fetches from the host outside by an uplink of mode `own`; and that host reaches the container, since nothing is translated. */

import { addressOf, CLIENT, SERVER } from '../hosts.js';
import { PAYLOAD_LENGTH } from '../inside/payload.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';
import { OUTSIDE } from '../outside.js';

export async function outside(lab: Lab): Promise<string> {
  const container = lab.endpoint(CLIENT);
  for (const address of Object.values(OUTSIDE)) await runProgramIn(container, 'fetch', [address], lab.signal);
  const server = addressOf(lab.endpoint(SERVER), 4);
  await runProgramIn(lab.outside, 'fetch', [server], lab.signal);
  const what = `${PAYLOAD_LENGTH} bytes from ${OUTSIDE.ipv4} and from ${OUTSIDE.ipv6}`;
  return `${what}, and as many from ${server} to there, all as sent`;
}
