/** From host to host in a VXLAN tunnel: Tapline at both ends, or at one, beside the kernel at both. */

import { kernelVxlan } from '../peers/kernel-vxlan.js';
import { taplineKernelVxlan, taplineVxlan } from '../peers/tapline-vxlan.js';
import { newHttpConnections } from '../scenarios/http.js';
import { pingRoundTrip } from '../scenarios/ping.js';
import { overIpv6Underlay, reversed } from '../scenarios/scenario.js';
import { tcp } from '../scenarios/tcp.js';
import { udpRoundTrip } from '../scenarios/udp-ping.js';
import type { Suite } from './suite.js';

const BOTH = { reference: 'kernel', peers: ['kernel', 'tapline'] } as const;
const ONE_STREAM = { ...BOTH, bar: 0.6, aim: 1.0, streams: 1 } as const;
/** Shown beside the kernel's and held to nothing. */
const SHOWN = { ...BOTH, bar: null, aim: null } as const;
const MIXED = {
  reference: 'kernel',
  subject: 'tapline-kernel',
  peers: ['kernel', 'tapline-kernel'],
  bar: 0.6,
  aim: null,
} as const;

const mixedOut = tcp({ ...MIXED, name: 'mixed-out', title: 'TCP one stream, Tapline → kernel', streams: 1 });
const shownOne = tcp({ ...SHOWN, name: 'tcp-1', title: 'TCP one stream', streams: 1 });

export const vxlan: Suite = {
  name: 'vxlan',
  title: 'container → network → VXLAN tunnel → network → container',
  peers: { kernel: kernelVxlan, tapline: taplineVxlan, 'tapline-kernel': taplineKernelVxlan },
  scenarios: [
    tcp({ ...ONE_STREAM, name: 'tcp-1', title: 'TCP one stream' }),
    tcp({ ...SHOWN, name: 'tcp-4', title: 'TCP four streams', streams: 4 }),
    mixedOut,
    reversed(mixedOut, { name: 'mixed-in', title: 'TCP one stream, kernel → Tapline' }),
    newHttpConnections({ ...BOTH, bar: 0.9, aim: null }),
    tcp({ ...SHOWN, name: 'tcp6-1', title: 'TCP one stream, IPv6', streams: 1, ipv6: true }),
    overIpv6Underlay(shownOne, { name: 'underlay6-tcp-1', title: 'TCP one stream, tunnel over IPv6' }),
    pingRoundTrip(SHOWN),
    udpRoundTrip(SHOWN),
  ],
  endpoints: false,
};
