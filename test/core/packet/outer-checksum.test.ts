/** The two checksums of a super-packet in a tunnel, completed in a copy: against frames that were written with both. */

import test from 'ava';
import { completeChecksumIn } from '../../../core/packet/checksum.js';
import { completeOuterChecksumIn } from '../../../core/packet/outer-checksum.js';
import { bytesOf, filler } from '../nat/wire.js';
import { type Family, type Speaker, segment, unfinished } from '../vxlan/support/inner.js';
import { container } from '../vxlan/support/lab.js';
import { type OuterFields, outer, pseudoHeader, sumOf } from '../vxlan/support/outer.js';

const HERE: Speaker = container(1, 1);
const THERE: Speaker = container(2, 1);
const MACS = { toMac: [2, 0, 0, 0, 0, 2], fromMac: [2, 0, 0, 0, 0, 1] };
const ENDS: Readonly<Record<Family, Pick<OuterFields, 'from' | 'to'>>> = {
  4: { from: '10.77.0.1', to: '10.77.0.2' },
  6: { from: 'fd77::1', to: 'fd77::2' },
};

/** A tag behind the MACs. */
function tagged(frame: Uint8Array, ...tags: readonly number[]): Uint8Array {
  return Uint8Array.from([...frame.subarray(0, 12), ...tags, ...frame.subarray(12)]);
}

interface Case {
  /** As it is captured: the inner checksum is a pseudo-header's, and so is the outer one. */
  readonly frame: Uint8Array;
  readonly checksumStart: number;
  /** With both checksums. */
  readonly expected: Uint8Array;
}

function superPacket(outside: Family, inside: Family, checksum: 'right' | 'zero', length: number): Case {
  const complete = segment(HERE, THERE, { family: inside, data: filler(length) });
  const { frame: partial, vnet } = unfinished(complete, 1350);
  const fields: OuterFields = { ...MACS, ...ENDS[outside], checksum };
  const frame = outer(fields, partial);
  const by = frame.length - partial.length;
  if (checksum === 'right') {
    const l4 = by - 16;
    const { from, to } = ENDS[outside];
    const sum = sumOf(pseudoHeader(bytesOf(from), bytesOf(to), 17, frame.length - l4));
    frame.set([sum >> 8, sum & 255], l4 + 6);
  }
  return { frame, checksumStart: by + (vnet?.checksumStart ?? 0), expected: outer(fields, complete) };
}

for (const outside of [4, 6] as const)
  for (const inside of [4, 6] as const)
    for (const checksum of ['right', 'zero'] as const)
      test(`IPv${inside} in IPv${outside}, outer checksum ${checksum}: both are complete`, (t) => {
        for (const length of [1400, 1401, 60_000]) {
          const { frame, checksumStart, expected } = superPacket(outside, inside, checksum, length);
          t.true(completeChecksumIn(frame, checksumStart, 16));
          completeOuterChecksumIn(frame, checksumStart);
          t.deepEqual(frame, expected);
        }
      });

test('behind one tag and behind two', (t) => {
  for (const tags of [
    [0x81, 0, 0, 7],
    [0x88, 0xa8, 0, 7, 0x81, 0, 0, 8],
  ]) {
    const { frame, checksumStart, expected } = superPacket(4, 4, 'right', 2000);
    const bytes = tagged(frame, ...tags);
    const inner = checksumStart + tags.length;
    t.true(completeChecksumIn(bytes, inner, 16));
    completeOuterChecksumIn(bytes, inner);
    t.deepEqual(bytes, tagged(expected, ...tags));
  }
});

test('what is no tunnel stays as it is: TCP, UDP whose own checksum was to come, a frame that is cut or says so', (t) => {
  const tcp = segment(HERE, THERE, { data: filler(1000) });
  const { frame: tunnel, checksumStart } = superPacket(4, 4, 'right', 2000);
  const lying = tunnel.slice();
  lying.set([0xff, 0xff], 14 + 20 + 4);
  const cases: [Uint8Array, number][] = [
    [tcp, 34],
    // Its own UDP header is where the checksum began.
    [tunnel, 34],
    [tunnel.subarray(0, 100), checksumStart],
    [tunnel.subarray(0, 30), checksumStart],
    [lying, checksumStart],
  ];
  for (const [frame, inner] of cases) {
    const before = frame.slice();
    completeOuterChecksumIn(frame, inner);
    t.deepEqual(frame, before);
  }
});
