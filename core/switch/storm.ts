/**
 * Storm control: what one port may cause to be copied to many. A token bucket each for broadcast, multicast and unicast to MACs that
 * nobody knows; frames to known MACs are never limited.
 *
 * A bucket holds a tenth of a second's frames, and at least MINIMUM_BURST. A segmented super-packet counts as the frames it stands
 * for.
 */

import { DROP_NONE, DROP_STORM_BROADCAST, DROP_STORM_MULTICAST, DROP_STORM_UNKNOWN_UNICAST } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.js';
import { isBroadcast, isGroupDestination } from './admit.js';

/** Frames a second; the highest keeps a second's tokens inside an int32. */
export const MAX_STORM_RATE = 1_000_000;
const MINIMUM_BURST = 32;
/** Tokens a frame, so that a millisecond's share of a low rate is a whole number. */
const FRAME = 1000;
/** A data offset of 15 words (RFC 9293, 3.1). */
const TCP_HEADER_LENGTH_MAXIMUM = 60;

/** Places of the buckets. */
const BROADCAST = 0;
const MULTICAST = 1;
const UNKNOWN = 2;
const REASONS = [DROP_STORM_BROADCAST, DROP_STORM_MULTICAST, DROP_STORM_UNKNOWN_UNICAST];

export class StormControl {
  /** Frames a second; 0: no limit. */
  private readonly rates: Int32Array;
  /** In thousandths of a frame. */
  private readonly bursts: Int32Array;
  private readonly tokens: Int32Array;
  /** Milliseconds. */
  private readonly filledAt = new Int32Array(3);

  /** Frames a second, up to MAX_STORM_RATE; 0: no limit. */
  constructor(broadcast: number, multicast: number, unknownUnicast: number) {
    this.rates = Int32Array.of(broadcast, multicast, unknownUnicast);
    this.bursts = this.rates.map((rate) => Math.max(Math.floor(rate / 10), MINIMUM_BURST) * FRAME);
    this.tokens = this.bursts.slice();
  }

  /**
   * For a packet that is about to be copied to many.
   * @param milliseconds the dataplane's clock; wraps
   * @returns a drop reason, or DROP_NONE
   */
  admit(packet: Packet, milliseconds: number): number {
    const kind = !isGroupDestination(packet) ? UNKNOWN : isBroadcast(packet) ? BROADCAST : MULTICAST;
    if (this.rates[kind] === 0) return DROP_NONE;
    this.fill(kind, milliseconds);
    // One that costs more than is left is let through and leaves a debt, else a super-packet could never pass a low limit.
    if (this.tokens[kind] < FRAME) return REASONS[kind];
    this.tokens[kind] -= framesOf(packet) * FRAME;
    return DROP_NONE;
  }

  private fill(kind: number, milliseconds: number): void {
    const passed = (milliseconds - this.filledAt[kind]) | 0;
    if (passed === 0) return;
    this.filledAt[kind] = milliseconds;
    // Negative after 25 days, longer than any debt lasts. Whoever is in debt pays all of it: waiting forgives nothing.
    if (passed < 0) this.tokens[kind] = this.bursts[kind];
    else this.tokens[kind] = Math.min(this.tokens[kind] + this.rates[kind] * passed, this.bursts[kind]);
  }
}

/**
 * Frames on a wire that a packet stands for. The length of the headers is the sender's word: it counts as far as a transport header
 * can reach.
 */
function framesOf(packet: Packet): number {
  if (packet.gsoSize === 0) return 1;
  const longest = packet.l4 === -1 ? ETHERNET_HEADER_LENGTH : packet.l4 - packet.start + TCP_HEADER_LENGTH_MAXIMUM;
  const headers = Math.min(packet.headerLength, longest);
  return Math.max(1, Math.ceil((packet.length - headers) / packet.gsoSize));
}
