/** An HTTP fetch through the switch, compared byte for byte. */

import { addressOf, CLIENT, SERVER } from '../hosts.js';
import { PAYLOAD_LENGTH } from '../inside/payload.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';

export async function http(lab: Lab): Promise<string> {
  const address = addressOf(lab.endpoint(SERVER), 4);
  const milliseconds = (await runProgramIn(lab.endpoint(CLIENT), 'fetch', [address], lab.signal)).trim();
  return `${PAYLOAD_LENGTH} bytes from http://${address}/ in ${milliseconds} ms, all as sent`;
}
