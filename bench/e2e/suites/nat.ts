/** From a network to the wire behind one address: Tapline beside the kernel's masquerading and beside a relay in C without NAT. */

import { cRelayNat } from '../peers/c-relay.js';
import { kernelNat } from '../peers/kernel-nat.js';
import { taplineNat } from '../peers/tapline-nat.js';
import { newHttpConnections } from '../scenarios/http.js';
import { pingRoundTrip } from '../scenarios/ping.js';
import { tcp } from '../scenarios/tcp.js';
import { FOUR_STREAMS, NEW_CONNECTIONS, ONE_STREAM, SHOWN } from './nat-goals.js';
import type { Suite } from './suite.js';

export const nat: Suite = {
  name: 'nat',
  title: 'container → network → router, masquerading → uplink → outside host',
  peers: { kernel: kernelNat, 'c-relay': cRelayNat, tapline: taplineNat },
  scenarios: [tcp(ONE_STREAM), tcp(FOUR_STREAMS), newHttpConnections(NEW_CONNECTIONS), pingRoundTrip(SHOWN)],
  endpoints: false,
};
