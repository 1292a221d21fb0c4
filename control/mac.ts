/** MAC addresses as people write them and as the dataplane keeps them: first two octets (16 bits), last four (int32). */

import { createHash } from 'node:crypto';

/** "02:42:ac:1e:00:02" → the two words of a handle: 16 bits and int32. */
export function macWords(mac: string): [high: number, low: number] {
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  return [(octets[0] << 8) | octets[1], (octets[2] << 24) | (octets[3] << 16) | (octets[4] << 8) | octets[5]];
}

export function formatMac(high: number, low: number): string {
  const hex = (high & 0xffff).toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return (hex.match(/../g) as string[]).join(':');
}

/** A MAC that follows from a text: the same each time, unlikely that of another, locally administered and no group's (IEEE 802). */
export function stableMac(text: string): string {
  const octets = createHash('sha256').update(text).digest().subarray(0, 6);
  octets[0] = ((octets[0] as number) & 0xfc) | 0x02;
  return (octets.toString('hex').match(/../g) as string[]).join(':');
}
