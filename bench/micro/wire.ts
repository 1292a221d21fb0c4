/** Parse and checksums. */

import { checksum, completeChecksum } from '../../core/packet/checksum.js';
import { parse } from '../../core/wire/parse.js';
import { load, makeBench, tagged, tcpFrame, udp6Frame } from './frames.js';
import type { Case } from './suite.js';

const BATCH = 1024;

function parseCase(name: string, frame: Uint8Array): Case {
  const { arena } = makeBench(2);
  const slots: number[] = [];
  for (let i = 0; i < 16; i++) slots.push(load(arena, 1, frame));
  let bad = 0;
  return {
    name: `parse, ${name}`,
    unit: 'packets',
    perCall: BATCH,
    run: () => {
      for (let i = 0; i < BATCH; i++) bad += parse(arena, arena.packets[slots[i & 15]]);
    },
    check: () => bad === 0 && arena.packets[slots[0]].l4 >= 0,
  };
}

function checksumCase(length: number): Case {
  const { arena } = makeBench(2);
  const at = arena.receiveOffset(3);
  for (let i = 0; i < length; i++) arena.bytes[at + i] = i * 7;
  let sum = 0;
  return {
    name: `checksum of ${length} bytes`,
    unit: 'bytes',
    perCall: length * 16,
    run: () => {
      for (let i = 0; i < 16; i++) sum += checksum(arena, at, length, 0);
    },
    check: () => sum > 0,
  };
}

function completeCase(): Case {
  const { arena } = makeBench(2);
  const frame = new Uint8Array(1514);
  frame.set(tcpFrame(1, 2));
  const packet = arena.packets[load(arena, 1, frame)];
  packet.checksumStart = 34;
  packet.checksumOffset = 16;
  return {
    name: 'complete a NEEDS_CSUM frame of 1,514 bytes',
    unit: 'packets',
    perCall: 16,
    run: () => {
      for (let i = 0; i < 16; i++) {
        packet.vnetFlags = 1;
        completeChecksum(arena, packet);
      }
    },
    check: () => true,
  };
}

export function wireCases(): Case[] {
  return [
    parseCase('IPv4 + TCP', tcpFrame(1, 2)),
    parseCase('802.1Q + IPv4 + TCP', tagged(tcpFrame(1, 2), 42)),
    parseCase('IPv6 + hop-by-hop + UDP', udp6Frame(1, 2)),
    checksumCase(1500),
    checksumCase(65000),
    completeCase(),
  ];
}
