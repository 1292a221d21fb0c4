/**
 * VLANs (IEEE 802.1Q-2022, 6.9 and 8.6): which domain a received frame is in, and which tag a frame has when it leaves.
 *
 * Frames keep their tag inside; it is put in or taken out at the egress, and only there where that port's form is another.
 */

import { DROP_NONE, DROP_VLAN_NOT_ALLOWED, DROP_VLAN_UNTAGGED } from '../drop.js';
import type { Arena } from '../packet/arena.js';
import { type Packet, TAG_NONE, TAG_PRIORITY, TAG_VLAN } from '../packet/packet.js';
import { insertTag, removeTag, setTag } from '../packet/tag.js';
import { ETHERNET_TYPE } from '../wire/ethernet.js';
import { VLAN_ID_MASK, VLAN_ID_PRIORITY, VLAN_IDS, VLAN_TAG_LENGTH } from '../wire/vlan.js';

/** What a port that tells VLANs apart takes and gives. */
export class PortVlan {
  /** TPID of the tags that count; frames with others are untagged, and those tags payload. */
  readonly protocol: number;
  /** VLAN of untagged frames, in and out; 0: none. */
  readonly native: number;
  /** Domain of untagged and priority-tagged frames; 0: refused. */
  nativeFid = 0;
  /** Domain by the VID of a tagged frame; 0: not allowed. An access port allows none. */
  readonly fids = new Int32Array(VLAN_IDS);
  /** It reads tags: an untagged frame must not begin with one of `protocol`. */
  isTrunk = false;
  /** The VID on the wire that stands for a network without VLANs; 0 in one with VLANs. */
  wireVid = 0;

  constructor(protocol: number, native: number) {
    this.protocol = protocol;
    this.native = native;
  }
}

/** Sets the packet's domain and tag. Returns a drop reason, or DROP_NONE. */
export function classify(packet: Packet, vlan: PortVlan): number {
  if (packet.vlanType !== vlan.protocol) {
    // Tags that the frame's end cuts: filled up to its least length on a wire, it would be in a VLAN of the sender's choice.
    return packet.etherType === -1 ? DROP_VLAN_NOT_ALLOWED : classifyNative(packet, vlan, TAG_NONE);
  }
  const vid = packet.vlan & VLAN_ID_MASK;
  if (vid === VLAN_ID_PRIORITY) return classifyNative(packet, vlan, TAG_PRIORITY);
  const fid = vlan.fids[vid];
  if (fid === 0) return DROP_VLAN_NOT_ALLOWED;
  packet.domain = fid;
  packet.tag = TAG_VLAN;
  return DROP_NONE;
}

function classifyNative(packet: Packet, vlan: PortVlan, tag: number): number {
  if (vlan.nativeFid === 0) return DROP_VLAN_UNTAGGED;
  packet.domain = vlan.nativeFid;
  packet.tag = tag;
  return DROP_NONE;
}

/** Whether the frame, with its tag taken out, would begin with another one of the same kind, be that cut by the frame's end. */
export function isStacked(view: DataView, packet: Packet): boolean {
  return packet.tag !== TAG_NONE && view.getUint16(packet.start + ETHERNET_TYPE + VLAN_TAG_LENGTH) === packet.vlanType;
}

/**
 * The VID of the tag that a domain's frames have when they leave by a port; 0: they have none.
 *
 * A stacked frame keeps its tag on a trunk, in the native VLAN as well: without it, the inner tag would say the VLAN there, and
 * whoever sent it would have chosen one that he is no member of.
 *
 * @param vlan of the port, null where it tells no VLANs apart
 * @param vid of the domain
 * @param stacked see `isStacked`
 */
export function egressVid(vlan: PortVlan | null, vid: number, stacked: boolean): number {
  if (vlan === null) return 0;
  if (vid === 0) return vlan.wireVid;
  return vid === vlan.native && !(stacked && vlan.isTrunk) ? 0 : vid;
}

/** The VID that a frame's tag says now; 0 for an untagged one, -1 for a priority tag, which never leaves as it is. */
export function presentVid(packet: Packet): number {
  if (packet.tag === TAG_NONE) return 0;
  return packet.tag === TAG_VLAN ? packet.vlan & VLAN_ID_MASK : -1;
}

/**
 * Gives the frame, in place, the tag for `vid`, or none for 0. A tag that was there keeps its priority.
 *
 * Precondition: the caller holds the only reference.
 */
export function setVid(arena: Arena, packet: Packet, protocol: number, vid: number): void {
  if (packet.tag === TAG_NONE) {
    if (vid === 0) return;
    insertTag(arena, packet, protocol, vid);
    packet.vlan = vid;
  } else if (vid === 0) {
    removeTag(arena, packet);
  } else {
    packet.vlan = (packet.vlan & ~VLAN_ID_MASK) | vid;
    setTag(arena, packet, packet.vlan);
  }
  packet.tag = vid === 0 ? TAG_NONE : TAG_VLAN;
}
