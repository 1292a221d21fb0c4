/** Network 1 of the router's lab stretched: an own VTEP, and ports that stand for others. */

import type { Packet } from '../../../core/packet/packet.js';
import type { Domain } from '../../../core/ports.js';
import type { LocalVtepOptions } from '../../../core/vxlan/vtep.js';
import { parse } from '../../../core/wire/parse.js';
import { Lab, type LabOptions, VRF, word4 } from '../router/lab.js';

/** Ports of VTEPs 10.4.0.21 and 10.4.0.22, on the link of the lab's uplink. */
export const VTEP = 21;
export const VTEP2 = 22;
/** MAC of the host inside the network. */
export const HOST_MAC = [0x02, 0x9c, 0x11, 0xe0, 0xa5, 0x77];
export const HOST_MAC_HIGH = 0x029c;
export const HOST_MAC_LOW = 0x11e0a577;

export const LOCAL: LocalVtepOptions = {
  vni: 42,
  vrf: VRF,
  local: Int32Array.of(0, 0, 0xffff, word4('10.4.0.1')),
  udpPort: 4789,
  ttl: 64,
  groupTtl: 1,
  dscp: 0,
  checksum: true,
  gbp: -1,
  open: false,
  suppress: true,
  macHigh: HOST_MAC_HIGH,
  macLow: HOST_MAC_LOW,
};

export class OverlayLab extends Lab {
  constructor(options: LabOptions = {}, local: Partial<LocalVtepOptions> = {}) {
    super(options);
    this.dataplane.vxlan.setLocal(1, { ...LOCAL, ...local });
    for (const port of [VTEP, VTEP2]) {
      const address = Int32Array.of(0, 0, 0xffff, word4(`10.4.0.${port}`));
      this.topology.addPort(port, 1, { isolation: 1, vtep: { address, floods: true } });
    }
  }

  get domain(): Domain {
    return this.topology.network(1).domain;
  }

  /** A MAC is behind a port. */
  bind(mac: readonly number[], port: number): void {
    this.topology.addStatic(1, 0, mac[0] * 256 + mac[1], Buffer.from(mac).readInt32BE(2), port);
  }

  /** Hands a frame, parsed and in network 1, to `use`, and gives its slot back. */
  with<T>(port: number, frame: Uint8Array, use: (packet: Packet) => T): T {
    const slot = this.load(port, frame);
    const packet = this.arena.packets[slot];
    parse(this.arena, packet);
    packet.network = 1;
    packet.domain = 1;
    packet.tag = 0;
    const result = use(packet);
    this.arena.release(slot);
    return result;
  }
}
