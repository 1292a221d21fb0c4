/** Membership in the groups of the underlay. */

import type { Packet } from '../packet/packet.js';
import type { RouterInterface } from '../router/interface.js';

export class GroupMembership {
  constructor(_sender: unknown) {}

  hear(_packet: Packet, _iface: RouterInterface): boolean {
    return false;
  }

  tick(_milliseconds: number): void {}
}
