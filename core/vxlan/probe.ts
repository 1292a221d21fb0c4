/** Probes through VTEPs: whether UDP, TCP and full-size packets get through undamaged. */

import type { Dataplane } from '../dataplane.js';
import type { Packet } from '../packet/packet.js';
import type { Port } from '../ports.js';
import { LOCAL } from '../verdict.js';

/** Kinds of probes. */
export const PROBE_UDP = 0;
export const PROBE_TCP = 1;
export const PROBE_FULL_SIZE = 2;

export class Prober {
  constructor(_dataplane: Dataplane) {}

  isProbe(_packet: Packet): boolean {
    return false;
  }

  receive(_packet: Packet, _port: Port): number {
    return LOCAL;
  }

  send(_ports: readonly number[]): void {}

  list(): Int32Array {
    return new Int32Array(0);
  }
}
