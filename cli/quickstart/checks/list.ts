/** All checks of the quickstart, in the order in which they run. A new one is a function in a file of its own and a line here. */

import { arp } from './arp.js';
import { attached } from './attached.js';
import { attack } from './attack.js';
import { broadcast } from './broadcast.js';
import { capture } from './capture.js';
import type { Check } from './check.js';
import { counters } from './counters.js';
import { hop } from './hop.js';
import { http } from './http.js';
import { internal } from './internal.js';
import { killed } from './killed.js';
import { learning } from './learning.js';
import { masquerade } from './masquerade.js';
import { outside } from './outside.js';
import { overlay, overlayGateway, overlayProbe } from './overlay.js';
import { pingIpv4, pingIpv6, routingIpv4, routingIpv6 } from './ping.js';
import { policy } from './policy.js';
import { published } from './published.js';
import { devicesRemoved, filesRemoved, namespacesRemoved } from './removal.js';
import { drained, service } from './service.js';
import { overlayTransfer, transfer } from './transfer.js';

export const CHECKS: readonly Check[] = [
  { name: 'containers attached', run: attached },
  { name: 'ping IPv4', run: pingIpv4 },
  { name: 'ping IPv6', run: pingIpv6 },
  { name: 'ARP', run: arp },
  { name: 'broadcast', run: broadcast },
  { name: 'MAC learning', run: learning },
  { name: 'HTTP fetch', run: http },
  { name: 'routing IPv4', run: routingIpv4 },
  { name: 'routing IPv6', run: routingIpv6 },
  { name: 'hop by hop', run: hop },
  { name: 'internal network', run: internal },
  { name: 'outside host', run: outside },
  { name: 'masquerade', run: masquerade },
  { name: 'published port', run: published },
  { name: 'service', run: service },
  { name: 'backend drained', run: drained },
  { name: 'policy', run: policy },
  { name: 'overlay', run: overlay },
  { name: 'overlay probe', run: overlayProbe },
  { name: 'overlay gateway', run: overlayGateway },
  { name: 'capture', run: capture },
  { name: 'attack stopped', run: attack },
  { name: 'TCP transfer', run: transfer, information: true },
  { name: 'overlay transfer', run: overlayTransfer, information: true },
  { name: 'counters', run: counters },
  // Counts from zero again afterwards.
  { name: 'switch killed', run: killed },
  // From here on things are taken down: what needs traffic comes before.
  { name: 'devices removed', run: devicesRemoved },
  { name: 'namespaces removed', run: namespacesRemoved },
  { name: 'files removed', run: filesRemoved },
];
