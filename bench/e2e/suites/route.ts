/** From network to network: Tapline's router beside the kernel's. */

import { kernelRoute } from '../peers/kernel-router.js';
import { taplineRoute } from '../peers/tapline-router.js';
import { newHttpConnections } from '../scenarios/http.js';
import { pingRoundTrip } from '../scenarios/ping.js';
import { tcp } from '../scenarios/tcp.js';
import type { Suite } from './suite.js';

const BOTH = { reference: 'kernel', peers: ['kernel', 'tapline'] } as const;
const ONE_STREAM = { ...BOTH, bar: 0.85, aim: 1.0, streams: 1 } as const;
/** Shown beside the kernel's and held to nothing. */
const SHOWN = { ...BOTH, bar: null, aim: null } as const;

export const route: Suite = {
  name: 'route',
  title: 'container → network → router → other network → container',
  peers: { kernel: kernelRoute, tapline: taplineRoute },
  scenarios: [
    tcp({ ...ONE_STREAM, name: 'tcp-1', title: 'TCP one stream' }),
    tcp({ ...ONE_STREAM, name: 'tcp6-1', title: 'TCP one stream, IPv6', ipv6: true }),
    tcp({ ...SHOWN, name: 'tcp-4', title: 'TCP four streams', streams: 4 }),
    newHttpConnections(SHOWN),
    pingRoundTrip(SHOWN),
  ],
  endpoints: false,
};
