/** What every uplink says of itself, and how each says that its device is not there. */

import type { UplinkConfig } from '../config/schema.js';
import { asTaplineError, TaplineError } from '../errors.js';

export interface UplinkDescription {
  readonly device: string;
  readonly mode: UplinkConfig['mode'];
  /** The network whose port it is; null for an uplink of the router. */
  readonly network: string | null;
  /** Null where it is bridged. */
  readonly vrf: string | null;
  readonly state: 'up' | 'down';
  /** Why it is down, empty else. */
  readonly why: string;
  /** Bytes; 0 while the device is away. */
  readonly mtu: number;
  /** That it has on the wire: the router's own, or the host's. */
  readonly mac: string;
  /** CIDR, the router's on the wire. */
  readonly addresses: readonly string[];
  /** Device by which super-packets of tunnels leave whole; null: there is none, or no need of one. */
  readonly outlet: string | null;
  readonly gateways: readonly string[];
}

/** What opening a device threw, as the error of the key `device`. */
export function missingDevice(device: string, error: unknown): TaplineError {
  const { kind, detail } = asTaplineError(error);
  const line = kind === 'missing' ? `expected an existing network device, got ${device} (${detail})` : detail;
  return new TaplineError(kind, line, 'device');
}
