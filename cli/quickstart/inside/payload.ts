/** What the server serves: 64 KiB in which every byte tells its place, so that a lost or swapped one shows. */

export const PAYLOAD_LENGTH = 65_536;

/** A prime, so that the pattern does not line up with segments. */
const PERIOD = 251;

export const PAYLOAD = Buffer.from(Uint8Array.from({ length: PAYLOAD_LENGTH }, (_, index) => index % PERIOD));
