/** Inside one network: Tapline's bridge beside the kernel's and beside a relay in C. */

import { cRelay } from '../peers/c-relay.js';
import { kernel } from '../peers/kernel.js';
import { tapline, taplineGuarded, taplineOpen } from '../peers/tapline.js';
import { newHttpConnections } from '../scenarios/http.js';
import { packetCpu } from '../scenarios/packet-cpu.js';
import { pingRoundTrip } from '../scenarios/ping.js';
import { tcp } from '../scenarios/tcp.js';
import type { Suite } from './suite.js';

const ALL = ['kernel', 'c-relay', 'tapline'] as const;
const PACKET_CPU = { reference: 'c-relay', bar: 1.2, aim: 0.9, peers: ['c-relay', 'tapline'] } as const;

const ONE_STREAM = { name: 'tcp-1', title: 'TCP one stream', streams: 1, peers: ALL } as const;
const FOUR_STREAMS = { name: 'tcp-4', title: 'TCP four streams', streams: 4, peers: ALL } as const;

export const l2: Suite = {
  name: 'l2',
  title: 'container → network → container',
  peers: {
    kernel,
    'c-relay': cRelay,
    tapline,
    'tapline-open': taplineOpen,
    'tapline-guarded': taplineGuarded,
  },
  scenarios: [
    tcp({ ...ONE_STREAM, reference: 'kernel', bar: 0.85, aim: 1.0 }),
    tcp({ ...FOUR_STREAMS, reference: 'c-relay', bar: 0.9, aim: 1.1 }),
    newHttpConnections({ reference: 'kernel', bar: 1.0, aim: 1.4, peers: ALL }),
    packetCpu(50_000, PACKET_CPU),
    packetCpu(150_000, PACKET_CPU),
    pingRoundTrip({ reference: 'c-relay', bar: 1.5, aim: 1.1, peers: ALL }),
  ],
  endpoints: true,
};
