/** The virtio-net header: read, written, and checked against its frame. */

import test from 'ava';
import fc from 'fast-check';
import { DROP_NONE, DROP_VNET_HEADER } from '../../../core/drop.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import {
  clearVnetHeader,
  isVnetHeaderValid,
  readVnetHeader,
  VNET_F_DATA_VALID,
  VNET_F_NEEDS_CSUM,
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP,
  VNET_GSO_UDP_L4,
  writeVnetHeader,
} from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';

function make(): { arena: Arena; packet: Packet; header: () => Uint8Array } {
  const arena = new Arena(new ArrayBuffer(SLOT_STRIDE));
  const packet = arena.packets[arena.allocate()];
  arena.bytes.fill(0xa5);
  packet.start = arena.receiveOffset(0) + VNET_HEADER_LENGTH;
  packet.length = 100;
  const header = (): Uint8Array => arena.bytes.slice(packet.start - VNET_HEADER_LENGTH, packet.start);
  return { arena, packet, header };
}

test('the fields stand where linux/virtio_net.h puts them, little-endian', (t) => {
  const { arena, packet } = make();
  arena.bytes.set([1, 0x81, 0x36, 0xf0, 0xa8, 0xf5, 0x22, 0xf1, 0x10, 0xf2], packet.start - VNET_HEADER_LENGTH);
  readVnetHeader(arena, packet);
  t.is(packet.vnetFlags, 1);
  t.is(packet.gsoType, 0x81);
  t.is(packet.headerLength, 0xf036);
  t.is(packet.gsoSize, 0xf5a8);
  t.is(packet.checksumStart, 0xf122);
  t.is(packet.checksumOffset, 0xf210);
});

test('any ten bytes are read and written back the same, and no byte beside them changes', (t) => {
  const { arena, packet, header } = make();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 10, maxLength: 10 }), (bytes) => {
      arena.bytes.set(bytes, packet.start - VNET_HEADER_LENGTH);
      readVnetHeader(arena, packet);
      arena.bytes.fill(0xa5, packet.start - VNET_HEADER_LENGTH, packet.start);
      writeVnetHeader(arena, packet);
      const around = [arena.bytes[packet.start - VNET_HEADER_LENGTH - 1], arena.bytes[packet.start]];
      return header().join() === bytes.join() && around.join() === '165,165';
    }),
  );
  t.pass();
});

test('clearing makes the header of a plain, complete frame, in handle and memory', (t) => {
  const { arena, packet, header } = make();
  readVnetHeader(arena, packet);
  clearVnetHeader(arena, packet);
  t.deepEqual([...header()], new Array(10).fill(0));
  readVnetHeader(arena, packet);
  t.deepEqual([packet.vnetFlags, packet.gsoType, packet.headerLength, packet.gsoSize], [0, 0, 0, 0]);
  t.true(isVnetHeaderValid(packet));
});

/** Whether a frame of 100 bytes with these fields passes. */
function valid(fields: Partial<Packet>): boolean {
  const { arena, packet } = make();
  clearVnetHeader(arena, packet);
  Object.assign(packet, fields);
  return isVnetHeaderValid(packet);
}

test('a checksum field must lie inside the frame, where there is one to complete', (t) => {
  const vnetFlags = VNET_F_NEEDS_CSUM;
  t.true(valid({ vnetFlags, checksumStart: 34, checksumOffset: 16 }));
  t.true(valid({ vnetFlags, checksumStart: 82, checksumOffset: 16 }), 'its last two bytes');
  t.false(valid({ vnetFlags, checksumStart: 83, checksumOffset: 16 }));
  t.false(valid({ vnetFlags, checksumStart: 65_535, checksumOffset: 65_535 }));
  t.true(valid({ vnetFlags: VNET_F_DATA_VALID, checksumStart: 65_535, checksumOffset: 65_535 }), 'not looked at');
});

test('a checksum field must not begin inside the Ethernet header, which has been looked at when it is written', (t) => {
  const vnetFlags = VNET_F_NEEDS_CSUM;
  for (let checksumStart = 0; checksumStart < 14; checksumStart++) {
    for (const checksumOffset of [0, 6, 16, 60]) t.false(valid({ vnetFlags, checksumStart, checksumOffset }));
    t.true(valid({ vnetFlags: VNET_F_DATA_VALID, checksumStart, checksumOffset: 16 }), 'nothing to complete');
  }
  t.true(valid({ vnetFlags, checksumStart: 14, checksumOffset: 0 }));
});

/** Parse's verdict on a frame of 100 bytes with these tags (TPIDs) and a checksum to complete. */
function verdictBehind(tpids: readonly number[], checksumStart: number): number {
  const { arena, packet } = make();
  arena.bytes.fill(0, packet.start, packet.start + packet.length);
  tpids.forEach((tpid, i) => {
    arena.view.setUint16(packet.start + 12 + 4 * i, tpid);
  });
  clearVnetHeader(arena, packet);
  Object.assign(packet, { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart, checksumOffset: 0 });
  writeVnetHeader(arena, packet);
  return parse(arena, packet);
}

test('nor inside a VLAN tag: it would choose the VLAN, or once the tag is out, the source MAC', (t) => {
  for (const outer of [0x8100, 0x88a8]) {
    for (let start = 0; start < 18; start++) t.is(verdictBehind([outer], start), DROP_VNET_HEADER, `${start}`);
    t.is(verdictBehind([outer], 18), DROP_NONE);
    for (let start = 0; start < 22; start++) t.is(verdictBehind([outer, 0x8100], start), DROP_VNET_HEADER, `${start}`);
    t.is(verdictBehind([outer, 0x8100], 22), DROP_NONE);
  }
  t.is(verdictBehind([], 14), DROP_NONE);
});

test('a segmentation type must be one we know and have a size and a header inside the frame', (t) => {
  for (const type of [VNET_GSO_TCPV4, VNET_GSO_TCPV6, VNET_GSO_UDP, VNET_GSO_UDP_L4]) {
    t.true(valid({ gsoType: type, gsoSize: 1, headerLength: 100 }));
    t.true(valid({ gsoType: type | VNET_GSO_ECN, gsoSize: 65_535 }));
    t.false(valid({ gsoType: type, gsoSize: 0 }));
    t.false(valid({ gsoType: type, gsoSize: 1, headerLength: 101 }));
  }
  for (const type of [2, 6, 77, VNET_GSO_ECN]) t.false(valid({ gsoType: type, gsoSize: 1000 }), String(type));
  t.true(valid({ gsoType: VNET_GSO_NONE, gsoSize: 1000, headerLength: 65_535 }), 'not looked at');
});

test('both are looked at where both are there', (t) => {
  const checksum = { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: 34, checksumOffset: 16 };
  t.true(valid({ ...checksum, gsoType: VNET_GSO_TCPV4, gsoSize: 1448, headerLength: 54 }));
  t.false(valid({ ...checksum, gsoType: VNET_GSO_TCPV4, gsoSize: 0, headerLength: 54 }));
  t.false(valid({ ...checksum, checksumStart: 99, gsoType: VNET_GSO_TCPV4, gsoSize: 1448 }));
});
