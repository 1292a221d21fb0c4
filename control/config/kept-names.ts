/** Names that Tapline keeps for itself. */

/** Names of the uplink's and of the host's port and interface, which therefore nothing else can have. */
export const UPLINK_PORT_NAME = 'uplink';
export const HOST_PORT_NAME = 'host';

/** Why no network, endpoint or service can have a name, as an error line; or null. */
export function keptName(name: string): string | null {
  if (name === UPLINK_PORT_NAME) return 'the name uplink is kept for the uplink; take another';
  return name === HOST_PORT_NAME ? 'the name host is kept for the port of the host; take another' : null;
}
