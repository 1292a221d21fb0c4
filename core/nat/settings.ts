/** What address translation and connection tracking are told to be. */

/** An internal address and port has one external port, whatever it talks to (RFC 4787, REQ-1). */
export const MAPPING_ENDPOINT_INDEPENDENT = 0;
/** It may have another for each remote address and port. */
export const MAPPING_ADDRESS_AND_PORT_DEPENDENT = 1;

/** Who may send to a mapping from outside (RFC 4787, section 5): everybody; who has been sent to, from any port; exactly who has. */
export const FILTERING_ENDPOINT_INDEPENDENT = 0;
export const FILTERING_ADDRESS_DEPENDENT = 1;
export const FILTERING_ADDRESS_AND_PORT_DEPENDENT = 2;

export const ALG_FTP = 1;
export const ALG_TFTP = 2;
