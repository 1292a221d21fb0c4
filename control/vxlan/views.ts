/** What the API answers about overlays: networks that span hosts, their VTEPs, and what probes through these have found. */

import type { ProbeResult, VtepStatus } from '../types.js';

export interface OverlayView {
  readonly network: string;
  readonly vni: number;
  readonly local: string;
  /** UDP port. */
  readonly port: number;
  /** Multicast group of the underlay; null: none. */
  readonly group: string | null;
  readonly state: 'up' | 'down';
  /** Why it is down; empty when it is up. */
  readonly why: string;
  /** Bytes of the largest IP packet of an endpoint. */
  readonly mtu: number;
  readonly learning: boolean;
  readonly open: boolean;
  readonly vteps: readonly VtepView[];
}

/** A VTEP, as a port of its network: `rx` is what came from there. */
export interface VtepView {
  readonly network: string;
  readonly address: string;
  /** `static`: known by entries of the FDB alone; `heard`: let in by `open`. */
  readonly kind: 'remote' | 'group' | 'static' | 'heard';
  /** It gets what is flooded. */
  readonly floods: boolean;
  readonly state: VtepStatus['state'];
  /** Why it is not up; empty when it is. */
  readonly why: string;
  /** Seconds since the last packet from there; null: none yet. */
  readonly heardSeconds: number | null;
  /** Bytes of the largest inner IP packet that passes; 0: not known before there is a way. */
  readonly mtu: number;
  /** Group policy tag of the last packet from there; null: it had none. */
  readonly gbp: number | null;
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  /** Frames from there and for there that were dropped, by reason; only reasons that occurred. */
  readonly drops: Readonly<Record<string, number>>;
  /** MACs behind it, learned and static. */
  readonly fdbEntries: number;
}

/** What came back of the probes through one VTEP. */
export interface ProbeView {
  readonly network: string;
  readonly address: string;
  /** Bytes of the IP packet of the full-size probe. */
  readonly mtu: number;
  readonly udp: ProbeResult;
  readonly tcp: ProbeResult;
  readonly fullSize: ProbeResult;
  /** Why nothing could be sent; empty where it could. */
  readonly why: string;
}
