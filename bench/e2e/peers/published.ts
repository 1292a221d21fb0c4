/** What a server behind address translation has published: the ports of every scenario that asks for one. */

import { HTTP_PORT } from '../scenarios/http.js';
import { IPERF_PORT } from '../scenarios/tcp.js';
import { ECHO_PORT } from '../scenarios/udp-ping.js';

export const PUBLISHED_PORTS = [
  { protocol: 'tcp', port: IPERF_PORT },
  { protocol: 'tcp', port: HTTP_PORT },
  { protocol: 'udp', port: ECHO_PORT },
] as const;
