/** What a stage that decides returns. */

/** Undecided: the next stage goes on. */
export const CONTINUE = 0;
/** Send to `packet.outPort`. */
export const TO_PORT = 1;
/** Send to every other port of the network. */
export const FLOOD = 2;
/** Drop for `packet.reason`. */
export const DROP = 3;
/** Send to the ports that multicast snooping has listed (`Snooping.targets`). */
export const TO_GROUP = 4;
