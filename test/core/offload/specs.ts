/** Random packets for property tests. */

import fc from 'fast-check';
import { ACK, CWR, ECE, FIN, type PacketSpec, PLAIN, PSH } from './packets.js';

/** A packet of TCP or UDP, and payload bytes a segment: at most a few hundred segments, and any length of the last. */
export function packetSpecs(): fc.Arbitrary<{ spec: PacketSpec; size: number }> {
  return fc
    .record({
      isIpv4: fc.boolean(),
      isTcp: fc.boolean(),
      tags: fc.array(fc.nat(0xffff), { maxLength: 2 }),
      extra: fc.nat(3),
      tos: fc.nat(255),
      ttl: fc.integer({ min: 1, max: 255 }),
      identification: fc.oneof(fc.nat(0xffff), fc.constant(0xfff0)),
      dontFragment: fc.boolean(),
      ports: fc.tuple(fc.nat(0xffff), fc.nat(0xffff)),
      sequence: fc.oneof(fc.nat(0xffffffff), fc.constant(0xffffff00)),
      acknowledgment: fc.nat(0xffffffff),
      flags: fc.subarray([PSH, FIN, CWR, ECE]).map((flags) => flags.reduce((sum, flag) => sum | flag, ACK)),
      window: fc.nat(0xffff),
      options: fc.integer({ min: 0, max: 10 }).chain((words) => bytes(4 * words)),
      size: fc.integer({ min: 1, max: 1500 }),
      whole: fc.integer({ min: 0, max: 12 }),
      rest: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.nat(),
    })
    .map(({ size, whole, rest, seed, extra, ...fields }) => {
      const length = whole * size + 1 + Math.floor(rest * (size - 1));
      return {
        size,
        spec: { ...PLAIN, ...fields, extra: fields.isIpv4 ? 4 * extra : extra, payload: fill(length, seed) },
      };
    });
}

function bytes(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length });
}

/** Bytes that differ from place to place and from seed to seed. */
export function fill(length: number, seed: number): Uint8Array {
  let state = seed | 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    return state >>> 16;
  });
}
