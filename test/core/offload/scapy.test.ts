/** Segments as scapy would have made them: it computes lengths and checksums of each anew, and must come to the same octets. */

import { execFileSync } from 'node:child_process';
import test from 'ava';
import { DROP_NONE } from '../../../core/drop.js';
import { Segmenter, segmentIntoSlots } from '../../../core/offload/segment.js';
import { parse } from '../../../core/wire/parse.js';
import { bytesOf, gsoOf, load, makeArena, type PacketSpec, PLAIN, PSH, partialFrame } from './packets.js';
import { fill } from './specs.js';

/** Debian's scapy belongs to Debian's Python, which need not be the first one on PATH. */
const PYTHON = '/usr/bin/python3';

const REBUILD = `
import json, sys
from scapy.all import Ether, IP, IPv6, TCP, UDP, raw

def rebuilt(text):
    packet = Ether(bytes.fromhex(text))
    for layer, fields in ((IP, ('len', 'chksum')), (IPv6, ('plen',)), (TCP, ('chksum', 'dataofs')), (UDP, ('len', 'chksum'))):
        if layer in packet:
            for field in fields:
                packet[layer].delfieldval(field)
    return raw(packet).hex()

json.dump([rebuilt(text) for text in json.load(sys.stdin)], sys.stdout)
`;

function segmentsOf(spec: PacketSpec, size: number): string[] {
  const arena = makeArena(64);
  const slots = new Int32Array(64);
  const packet = load(arena, partialFrame(spec), gsoOf(spec, size));
  if (parse(arena, packet) !== DROP_NONE) throw new Error('the packet does not parse');
  const count = segmentIntoSlots(arena, new Segmenter(arena), packet, slots);
  return [...slots.subarray(0, count)].map((slot) => Buffer.from(bytesOf(arena, arena.packets[slot])).toString('hex'));
}

test('scapy comes to the same lengths and checksums, for TCP and UDP over both families', (t) => {
  const all: string[] = [];
  for (const isIpv4 of [true, false]) {
    for (const isTcp of [true, false]) {
      const spec = { ...PLAIN, isIpv4, isTcp, flags: PLAIN.flags | PSH, payload: fill(30_001, 5) };
      const segments = segmentsOf(spec, 1398);
      t.is(segments.length, 22);
      all.push(...segments);
    }
  }
  const input = JSON.stringify(all);
  const rebuilt = JSON.parse(execFileSync(PYTHON, ['-c', REBUILD], { input, encoding: 'utf8' })) as string[];
  t.true(rebuilt.length === all.length && rebuilt.every((text, index) => text === all[index]));

  // And it would see one that is not: a wrong checksum is no longer the same.
  const spoilt = all.map((text) => `${text.slice(0, 100)}${text[100] === '0' ? '1' : '0'}${text.slice(101)}`);
  const mended = execFileSync(PYTHON, ['-c', REBUILD], { input: JSON.stringify(spoilt), encoding: 'utf8' });
  t.true((JSON.parse(mended) as string[]).every((text, index) => text !== spoilt[index]));
});
