/** A published port: the host outside fetches from a container by the uplink's address, and the container sees who it is. */

import { SHOP, SHOP_PORT } from '../hosts.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';
import { OUTSIDE, ROUTER } from '../outside.js';

export async function published(lab: Lab): Promise<string> {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const args = [ROUTER[family], String(SHOP_PORT)];
    await runProgramIn(lab.outside, 'fetch', args, lab.signal);
    const seen = (await runProgramIn(lab.outside, 'who', args, lab.signal)).trim();
    if (seen !== OUTSIDE[family]) throw new Error(`expected ${SHOP} to see ${OUTSIDE[family]}, got ${seen}`);
  }
  const urls = `http://${ROUTER.ipv4}:${SHOP_PORT}/ and http://[${ROUTER.ipv6}]:${SHOP_PORT}/`;
  return `${urls} from outside; ${SHOP} saw ${OUTSIDE.ipv4} and ${OUTSIDE.ipv6}`;
}
