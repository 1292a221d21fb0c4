/** Congestion marks over a tunnel (RFC 6040, normal mode): the ECN field, the two low bits of the TOS octet or traffic class. */

import { updateChecksum16 } from '../packet/checksum.js';
import { IPV4_CHECKSUM, IPV4_VERSION_IHL } from '../wire/ipv4.js';

export const ECN_MASK = 3;
export const ECN_NOT_ECT = 0;
export const ECN_ECT_1 = 1;
export const ECN_ECT_0 = 2;
export const ECN_CE = 3;

/** `decapsulate`: the packet is to be dropped. */
export const ECN_DROP = -1;

/**
 * The inner packet's ECN field after the tunnel (4.2, figure 4): what was marked on the way is kept, if the inner packet can say so.
 * @returns ECN_DROP where it cannot: congestion, and an inner packet that knows no ECN
 */
export function decapsulateEcn(outer: number, inner: number): number {
  if (inner === ECN_NOT_ECT) return outer === ECN_CE ? ECN_DROP : ECN_NOT_ECT;
  if (outer === ECN_CE || inner === ECN_CE) return ECN_CE;
  return outer === ECN_ECT_1 ? ECN_ECT_1 : inner;
}

/** TOS octet of the IPv4 header, or traffic class of the IPv6 header, at `l3`. */
export function trafficClass(view: DataView, l3: number): number {
  const word = view.getUint16(l3 + IPV4_VERSION_IHL);
  return word >>> 12 === 4 ? word & 0xff : (word >>> 4) & 0xff;
}

/** Writes the ECN field of the IPv4 or IPv6 header at `l3`, and puts IPv4's checksum right. */
export function setEcn(view: DataView, l3: number, ecn: number): void {
  const before = view.getUint16(l3 + IPV4_VERSION_IHL);
  if (before >>> 12 !== 4) {
    view.setUint16(l3, (before & ~(ECN_MASK << 4)) | (ecn << 4));
    return;
  }
  const after = (before & ~ECN_MASK) | ecn;
  view.setUint16(l3, after);
  view.setUint16(l3 + IPV4_CHECKSUM, updateChecksum16(view.getUint16(l3 + IPV4_CHECKSUM), before, after));
}
