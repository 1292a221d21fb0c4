/** DHCP (RFC 2131, 4.1) and DHCPv6 (RFC 8415, 7.2): the UDP ports that tell a server's messages from a client's. */

/** Servers and relays receive here, and send from here. */
export const DHCP_SERVER_PORT = 67;
/** Clients receive here. */
export const DHCP_CLIENT_PORT = 68;

/** The same two for DHCPv6. */
export const DHCPV6_SERVER_PORT = 547;
export const DHCPV6_CLIENT_PORT = 546;
