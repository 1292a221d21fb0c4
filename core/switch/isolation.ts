/**
 * Isolation: private VLANs on layer 2, whatever the EtherType. Each port is of a class:
 *
 *   OPEN        reaches every port and is reached by every port: uplink, gateway, endpoints that are not isolated
 *   ISOLATED    reaches only open ports
 *   2 and up    a group: reaches open ports and those of its group
 */

export const ISOLATION_OPEN = 0;
export const ISOLATION_ALONE = 1;

/** Whether frames pass between ports of these classes; the same in both directions. */
export function mayReach(from: number, to: number): boolean {
  return from === ISOLATION_OPEN || to === ISOLATION_OPEN || (from === to && from > ISOLATION_ALONE);
}
