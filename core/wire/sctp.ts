/** SCTP common header (RFC 9260, 3.1), and what DCCP (RFC 4340, 5.1) and UDP-Lite (RFC 3828, 3) have like UDP. Offsets count from the header. */

export const PROTOCOL_SCTP = 132;
/** CRC32c of header and chunks, least octet first. */
export const SCTP_CHECKSUM = 8;
export const SCTP_HEADER_LENGTH = 12;

export const PROTOCOL_DCCP = 33;
export const DCCP_CHECKSUM = 6;
/** Generic header with short sequence numbers: the shortest. */
export const DCCP_HEADER_LENGTH = 12;

export const PROTOCOL_UDP_LITE = 136;
export const UDP_LITE_CHECKSUM = 6;
export const UDP_LITE_HEADER_LENGTH = 8;

export const SCTP_VERIFICATION_TAG = 4;

/** A chunk (RFC 9260, 3.2); its length counts the header, not the padding to four bytes. Offsets count from the chunk. */
export const SCTP_CHUNK_TYPE = 0;
export const SCTP_CHUNK_FLAGS = 1;
export const SCTP_CHUNK_LENGTH = 2;
export const SCTP_CHUNK_HEADER_LENGTH = 4;
/** Of INIT and INIT ACK (RFC 9260, 3.3.2), whose fixed part has this length. */
export const SCTP_INITIATE_TAG = 4;
export const SCTP_INIT_LENGTH = 20;
/** Flag of ABORT and SHUTDOWN COMPLETE: the tag is the one that the sender itself expects (RFC 9260, 8.5.1). */
export const SCTP_TAG_REFLECTED = 1;

export const SCTP_DATA = 0;
export const SCTP_INIT = 1;
export const SCTP_INIT_ACK = 2;
export const SCTP_SACK = 3;
export const SCTP_HEARTBEAT = 4;
export const SCTP_HEARTBEAT_ACK = 5;
export const SCTP_ABORT = 6;
export const SCTP_SHUTDOWN = 7;
export const SCTP_SHUTDOWN_ACK = 8;
export const SCTP_COOKIE_ECHO = 10;
export const SCTP_COOKIE_ACK = 11;
export const SCTP_SHUTDOWN_COMPLETE = 14;
/** RFC 8260. */
export const SCTP_I_DATA = 64;
