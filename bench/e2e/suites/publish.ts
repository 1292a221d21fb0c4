/** From the wire to a published port: Tapline beside the kernel's DNAT and beside a relay in C without NAT. */

import { cRelayPublish } from '../peers/c-relay.js';
import { kernelPublish } from '../peers/kernel-nat.js';
import { taplinePublish } from '../peers/tapline-nat.js';
import { newHttpConnections } from '../scenarios/http.js';
import { tcp } from '../scenarios/tcp.js';
import { udpRoundTrip } from '../scenarios/udp-ping.js';
import { FOUR_STREAMS, NEW_CONNECTIONS, ONE_STREAM, SHOWN } from './nat-goals.js';
import type { Suite } from './suite.js';

export const publish: Suite = {
  name: 'publish',
  title: 'outside host → uplink → published port → network → container',
  peers: { kernel: kernelPublish, 'c-relay': cRelayPublish, tapline: taplinePublish },
  scenarios: [
    tcp(ONE_STREAM),
    tcp({ ...SHOWN, name: 'tcp6-1', title: 'TCP one stream, IPv6', streams: 1, ipv6: true }),
    tcp(FOUR_STREAMS),
    newHttpConnections(NEW_CONNECTIONS),
    udpRoundTrip(SHOWN),
  ],
  endpoints: false,
};
