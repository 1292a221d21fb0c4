/** A tag that the kernel handed over beside the frame comes back into it, and every offset still names the same byte. */

import test from 'ava';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../core/packet/arena.js';
import type { Packet } from '../../core/packet/packet.js';
import { isVnetHeaderValid, readVnetHeader, writeVnetHeader } from '../../core/packet/vnet.js';
import { AUXDATA_LENGTH, AUXDATA_SPACE, restoreVlanTag } from '../../io/vlan-restore.js';

const VLAN_VALID = 0x10;
const TPID_VALID = 0x40;
/** Where these tests put the control message: at the end of the slot, out of the frame's way. */
const CONTROL = SLOT_STRIDE - 64;

interface Rig {
  readonly arena: Arena;
  readonly packet: Packet;
}

/** A frame whose bytes count up from 0, in a slot filled with 0xa5. */
function make(length: number, vnet: Partial<Packet> = {}): Rig {
  const arena = new Arena(new ArrayBuffer(SLOT_STRIDE));
  const packet = arena.packets[arena.allocate()];
  arena.bytes.fill(0xa5);
  packet.start = arena.receiveOffset(0) + VNET_HEADER_LENGTH;
  packet.length = length;
  for (let i = 0; i < length; i++) arena.bytes[packet.start + i] = i;
  Object.assign(packet, vnet);
  writeVnetHeader(arena, packet);
  return { arena, packet };
}

/** struct cmsghdr and struct tpacket_auxdata. */
function writeControl(arena: Arena, status: number, tci: number, tpid: number, level = 263, type = 8): void {
  const { view } = arena;
  view.setInt32(CONTROL, 16 + AUXDATA_LENGTH, true);
  view.setInt32(CONTROL + 4, 0, true);
  view.setInt32(CONTROL + 8, level, true);
  view.setInt32(CONTROL + 12, type, true);
  view.setInt32(CONTROL + 16, status, true);
  view.setUint16(CONTROL + 32, tci, true);
  view.setUint16(CONTROL + 34, tpid, true);
}

function frame({ arena, packet }: Rig): number[] {
  return [...arena.bytes.subarray(packet.start, packet.start + packet.length)];
}

const counting = (length: number): number[] => Array.from({ length }, (_, i) => i & 0xff);

test('the tag stands between addresses and EtherType, the rest does not move', (t) => {
  const rig = make(60);
  const before = rig.packet.start;
  writeControl(rig.arena, VLAN_VALID | TPID_VALID, 0xe123, 0x88a8);
  restoreVlanTag(rig.arena, rig.packet, CONTROL, AUXDATA_SPACE);
  t.is(rig.packet.start, before - 4);
  t.deepEqual(frame(rig), [...counting(12), 0x88, 0xa8, 0xe1, 0x23, ...counting(60).slice(12)]);
  t.is(rig.arena.bytes[rig.packet.start - VNET_HEADER_LENGTH - 1], 0xa5);
  t.is(rig.arena.bytes[rig.packet.start + rig.packet.length], 0xa5);
});

test('a kernel that does not say the TPID means 802.1Q; a priority tag has VLAN 0', (t) => {
  const rig = make(60);
  writeControl(rig.arena, VLAN_VALID, 0, 0x88a8);
  restoreVlanTag(rig.arena, rig.packet, CONTROL, AUXDATA_SPACE);
  t.deepEqual(frame(rig).slice(12, 16), [0x81, 0, 0, 0]);
});

test('without a tag, or without a whole control message about one, the frame stays as it is', (t) => {
  const cases: [string, (arena: Arena) => void, number, number][] = [
    ['no tag', (arena) => writeControl(arena, TPID_VALID, 5, 0x8100), AUXDATA_SPACE, 60],
    ['cut short', (arena) => writeControl(arena, VLAN_VALID, 5, 0x8100), 16 + AUXDATA_LENGTH - 1, 60],
    ['none', (arena) => writeControl(arena, VLAN_VALID, 5, 0x8100), 0, 60],
    ['other level', (arena) => writeControl(arena, VLAN_VALID, 5, 0x8100, 1), AUXDATA_SPACE, 60],
    ['other type', (arena) => writeControl(arena, VLAN_VALID, 5, 0x8100, 263, 9), AUXDATA_SPACE, 60],
    ['a runt', (arena) => writeControl(arena, VLAN_VALID, 5, 0x8100), AUXDATA_SPACE, 13],
  ];
  for (const [what, control, length, frameLength] of cases) {
    const rig = make(frameLength);
    control(rig.arena);
    const before = rig.arena.bytes.slice();
    restoreVlanTag(rig.arena, rig.packet, CONTROL, length);
    t.is(rig.packet.length, frameLength, what);
    t.deepEqual(rig.arena.bytes, before, what);
  }
});

test('checksum and header length are counted from four bytes earlier', (t) => {
  const rig = make(3000, {
    vnetFlags: 1,
    gsoType: 1,
    headerLength: 54,
    gsoSize: 1448,
    checksumStart: 34,
    checksumOffset: 16,
  });
  const field = rig.packet.start + 34 + 16;
  writeControl(rig.arena, VLAN_VALID | TPID_VALID, 7, 0x8100);
  restoreVlanTag(rig.arena, rig.packet, CONTROL, AUXDATA_SPACE);
  readVnetHeader(rig.arena, rig.packet);
  const { packet } = rig;
  t.is(packet.start + packet.checksumStart + packet.checksumOffset, field, 'the same byte');
  t.deepEqual([packet.vnetFlags, packet.gsoType, packet.headerLength, packet.gsoSize], [1, 1, 58, 1448]);
  t.true(isVnetHeaderValid(packet));
});

test('a plain header stays plain', (t) => {
  const rig = make(60, { checksumStart: 0, headerLength: 0 });
  writeControl(rig.arena, VLAN_VALID, 7, 0);
  restoreVlanTag(rig.arena, rig.packet, CONTROL, AUXDATA_SPACE);
  t.deepEqual(
    [...rig.arena.bytes.subarray(rig.packet.start - VNET_HEADER_LENGTH, rig.packet.start)],
    new Array(10).fill(0),
  );
});

test('the header length of a frame that lies in one piece in the kernel, nearly 64 KiB, does not wrap round', (t) => {
  const rig = make(65_549, {
    vnetFlags: 1,
    gsoType: 1,
    headerLength: 65_534,
    gsoSize: 1448,
    checksumStart: 34,
    checksumOffset: 16,
  });
  writeControl(rig.arena, VLAN_VALID, 7, 0);
  restoreVlanTag(rig.arena, rig.packet, CONTROL, AUXDATA_SPACE);
  readVnetHeader(rig.arena, rig.packet);
  t.is(rig.packet.headerLength, 65_535);
});
