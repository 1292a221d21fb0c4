/** Who may reach whom through the router, before any policy. */

import { DROP_HOST_ACCESS, DROP_INTERNAL, DROP_NONE, DROP_PROHIBITED } from '../drop.js';
import { INTERFACE_HOST, INTERFACE_NETWORK, INTERFACE_UPLINK, type RouterInterface } from './interface.js';
import type { Vrf } from './vrf.js';

/**
 * A network reaches itself; other networks of its VRF, if that interconnects them; uplink and host, if it is not internal and has
 * access to the host. Host and uplink do not reach each other here: the host has that device itself.
 *
 * @returns a drop reason, or DROP_NONE
 */
export function reachReason(vrf: Vrf, from: RouterInterface, to: RouterInterface): number {
  if (from === to) return DROP_NONE;
  if (from.kind === INTERFACE_HOST)
    return to.kind === INTERFACE_NETWORK && to.hostAccess ? DROP_NONE : DROP_HOST_ACCESS;
  if (to.kind === INTERFACE_HOST)
    return from.kind === INTERFACE_NETWORK && from.hostAccess ? DROP_NONE : DROP_HOST_ACCESS;
  if (from.internal || to.internal) return DROP_INTERNAL;
  if (from.kind === INTERFACE_UPLINK || to.kind === INTERFACE_UPLINK) return DROP_NONE;
  return vrf.interconnect ? DROP_NONE : DROP_PROHIBITED;
}
