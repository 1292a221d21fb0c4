/** MAC addresses as people write them and as the dataplane keeps them: first two octets (16 bits), last four (int32). */

/** "02:42:ac:1e:00:02" → the two words of a handle: 16 bits and int32. */
export function macWords(mac: string): [high: number, low: number] {
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  return [(octets[0] << 8) | octets[1], (octets[2] << 24) | (octets[3] << 16) | (octets[4] << 8) | octets[5]];
}

export function formatMac(high: number, low: number): string {
  const hex = (high & 0xffff).toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return (hex.match(/../g) as string[]).join(':');
}
