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
