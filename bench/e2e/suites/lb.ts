/** From the wire to a service over two containers: Tapline beside the kernel's DNAT in turn, haproxy and nginx. */

import { kernelBalanced } from '../peers/kernel-nat.js';
import { haproxy, haproxyTwoThreads, nginx } from '../peers/proxies.js';
import { taplineBalanced } from '../peers/tapline-lb.js';
import { httpOnOpenConnections, newHttpConnections } from '../scenarios/http.js';
import { tcp } from '../scenarios/tcp.js';
import type { Suite } from './suite.js';

const PROXIES = ['haproxy', 'haproxy-2', 'nginx'] as const;
const peers = ['kernel', ...PROXIES, 'tapline'] as const;

const beside = (aim: number | null) => PROXIES.map((peer) => ({ peer, aim }));
/** Shown beside all others and held to nothing. */
const SHOWN = { reference: 'kernel', bar: null, aim: null, beside: beside(null), peers } as const;

export const lb: Suite = {
  name: 'lb',
  title: 'outside host → uplink → service → network → one of two containers',
  peers: {
    kernel: kernelBalanced,
    haproxy,
    'haproxy-2': haproxyTwoThreads,
    nginx,
    tapline: taplineBalanced,
  },
  scenarios: [
    newHttpConnections({ reference: 'kernel', bar: 1.1, aim: 1.5, beside: beside(2), peers }),
    httpOnOpenConnections(SHOWN),
    tcp({ ...SHOWN, name: 'tcp-1', title: 'TCP one stream', streams: 1 }),
    tcp({ ...SHOWN, name: 'tcp-4', title: 'TCP four streams', streams: 4 }),
  ],
  endpoints: false,
};
