/** Between a network and the wire, without NAT: Tapline with an uplink of its own beside the kernel's router. */

import { kernelUplink } from '../peers/kernel-router.js';
import { taplineUplink } from '../peers/tapline-router.js';
import { newHttpConnections } from '../scenarios/http.js';
import { pingRoundTrip } from '../scenarios/ping.js';
import { reversed } from '../scenarios/scenario.js';
import { tcp } from '../scenarios/tcp.js';
import type { Suite } from './suite.js';

const BOTH = { reference: 'kernel', peers: ['kernel', 'tapline'] } as const;
const ONE_STREAM = { ...BOTH, bar: 0.85, aim: 1.0, streams: 1 } as const;
/** Shown beside the kernel's and held to nothing. */
const SHOWN = { ...BOTH, bar: null, aim: null } as const;

const tcpOut = tcp({ ...ONE_STREAM, name: 'tcp-out', title: 'TCP one stream, container → outside' });
const tcp6Out = tcp({
  ...ONE_STREAM,
  name: 'tcp6-out',
  title: 'TCP one stream, IPv6, container → outside',
  ipv6: true,
});

export const uplink: Suite = {
  name: 'uplink',
  title: 'container ↔ network ↔ router ↔ uplink ↔ outside host',
  peers: { kernel: kernelUplink, tapline: taplineUplink },
  scenarios: [
    tcpOut,
    reversed(tcpOut, { name: 'tcp-in', title: 'TCP one stream, outside → container' }),
    tcp6Out,
    reversed(tcp6Out, { name: 'tcp6-in', title: 'TCP one stream, IPv6, outside → container' }),
    newHttpConnections(SHOWN),
    pingRoundTrip(SHOWN),
  ],
  endpoints: false,
};
