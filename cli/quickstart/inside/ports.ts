/** Ports that the containers of the quickstart listen on, each in its own namespace, and what HTTP there has besides its payload. */

export const HTTP_PORT = 80;
/** What the server answers with the address of its client. */
export const WHO = '/who';
/** What the server answers with the address that the client has reached it at, by which the servers of one service are told apart. */
export const SERVED_BY = '/served-by';
/** TCP; answers with the number of bytes that came. */
export const SINK_PORT = 5001;
/** UDP (RFC 862). */
export const ECHO_PORT = 7;
