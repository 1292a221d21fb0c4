/** Properties of the parse on any bytes at all: it never throws, never reads outside the frame, and keeps its promises. */

import test from 'ava';
import fc from 'fast-check';
import { PACKET_L3_MALFORMED } from '../../../core/packet/packet.js';
import { createRandom, generatedFrames, mutate, rerunLine, seedOfRun } from '../../support/corpus.js';
import { ethernet, ipv4, ipv6, vlan } from './build.js';
import { brokenRule, ParseBench } from './parsed.js';

const seed = seedOfRun();
const RUNS = { seed, numRuns: 20_000 };
const RERUN = rerunLine(seed, 'dist/test/core/wire/parse.property.test.js');
const bench = new ParseBench();

/** Parses three times: with different bytes behind and before the frame, and with no memory behind it. */
function parseThrice(frame: Uint8Array): ReturnType<ParseBench['parse']> {
  const first = bench.parse(frame, 0x00);
  const second = bench.parse(frame, 0xff);
  const third = bench.parseAtEdge(frame);
  for (const [field, value] of Object.entries(first)) {
    const key = field as keyof typeof first;
    if (second[key] !== value || third[key] !== value) throw new Error(`${field} depends on bytes outside the frame`);
  }
  const broken = brokenRule(first, frame.length);
  if (broken !== null) throw new Error(`broken rule: ${broken}`);
  return first;
}

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const nextHeader = fc.oneof(fc.constantFrom(0, 6, 17, 43, 44, 50, 51, 58, 59, 60), fc.nat(255));
const etherType = fc.constantFrom(0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8);

/** A chain of extension headers whose lengths are mostly small, so that it often holds together. */
const chain = fc
  .array(fc.tuple(nextHeader, fc.oneof(fc.nat(2), fc.nat(255)), bytes(24)), { maxLength: 12 })
  .map((headers) => headers.map(([next, length, rest]) => Uint8Array.of(next, length, 0, 0, 0, 0, 0, 0, ...rest)));

const frames = fc.oneof(
  bytes(120),
  fc.tuple(etherType, bytes(100)).map(([type, rest]) => ethernet(type, rest)),
  fc.tuple(etherType, etherType, bytes(100)).map(([outer, inner, rest]) => ethernet(outer, vlan(1, inner, rest))),
  fc
    .record({ protocol: nextHeader, headerWords: fc.nat(15), offset: fc.constantFrom(0, 0, 1), more: fc.boolean() })
    .chain((fields) => bytes(60).map((rest) => ethernet(0x0800, ipv4(fields, rest)))),
  fc
    .tuple(nextHeader, chain, bytes(40))
    .map(([next, headers, rest]) => ethernet(0x86dd, ipv6({ nextHeader: next }, ...headers, rest))),
);

test('any bytes: no exception, nothing read outside the frame, every rule kept', (t) => {
  let sound = 0;
  fc.assert(
    fc.property(frames, (frame) => {
      const parsed = parseThrice(frame);
      if (parsed.l4 !== -1) sound++;
    }),
    RUNS,
  );
  t.true(
    sound > RUNS.numRuns / 50,
    `only ${sound} frames of ${RUNS.numRuns} came as far as a transport header; ${RERUN}`,
  );
});

test('mutated frames: the same', (t) => {
  const random = createRandom(seed);
  const originals = generatedFrames();
  let malformed = 0;
  for (let i = 0; i < 50_000; i++) {
    const frame = mutate(originals[i % originals.length], random);
    try {
      if ((parseThrice(frame).flags & PACKET_L3_MALFORMED) !== 0) malformed++;
    } catch (error) {
      t.fail(`frame ${Buffer.from(frame).toString('hex')}: ${(error as Error).message}; ${RERUN}`);
      return;
    }
  }
  t.true(malformed > 1000 && malformed < 49_000, `${malformed} of 50000 malformed; ${RERUN}`);
});

test('a tag in front moves the offsets and changes nothing else', (t) => {
  fc.assert(
    fc.property(frames, fc.nat(0xffff), (frame, tci) => {
      const plain = parseThrice(frame);
      if (plain.verdict !== 0 || plain.vlan !== -1 || plain.etherType === -1) return;
      const tagged = parseThrice(
        Uint8Array.of(...frame.subarray(0, 12), 0x81, 0, tci >> 8, tci & 0xff, ...frame.subarray(12)),
      );
      const moved = (offset: number) => (offset === -1 ? -1 : offset + 4);
      t.deepEqual(tagged, {
        ...plain,
        vlan: tci,
        vlanType: 0x8100,
        l3: moved(plain.l3),
        l3End: plain.l3 === -1 ? 0 : plain.l3End + 4,
        l4: moved(plain.l4),
      });
    }),
    { ...RUNS, numRuns: 3000 },
  );
});

test('link padding behind a sound packet changes nothing', (t) => {
  let compared = 0;
  fc.assert(
    fc.property(frames, fc.integer({ min: 1, max: 46 }), (frame, padding) => {
      const plain = parseThrice(frame);
      if (plain.l3 === -1 || (plain.flags & PACKET_L3_MALFORMED) !== 0) return;
      compared++;
      t.deepEqual(parseThrice(Uint8Array.of(...frame, ...new Uint8Array(padding))), plain);
    }),
    { ...RUNS, numRuns: 3000 },
  );
  t.true(compared > 100, `${compared} compared; ${RERUN}`);
});
