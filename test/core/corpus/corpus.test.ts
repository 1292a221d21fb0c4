/** Every capture of the corpus, and a million mutations of them, through the parse; and IPv4 headers as ip-packet reads them. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DROP_NONE, DROP_OVERSIZED, DROP_RUNT } from '../../../core/drop.js';
import { MAX_FRAME_LENGTH } from '../../../core/packet/arena.js';
import {
  PACKET_IPV4_OPTIONS,
  PACKET_IPV6_EXTENSIONS,
  PACKET_L3_MALFORMED,
  PACKET_L4_MALFORMED,
  PACKET_LATER_FRAGMENT,
} from '../../../core/packet/packet.js';
import {
  ipv4Destination,
  ipv4Fragment,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv4Ttl,
} from '../../../core/wire/ipv4.js';
import {
  corpusDirectory,
  corpusNote,
  createRandom,
  loadCaptures,
  loadCorpus,
  mutate,
  rerunLine,
  seedOfRun,
} from '../../support/corpus.js';
import { brokenRule, ParseBench, type Parsed } from '../wire/parsed.js';

const MUTATIONS = 1_000_000;
const bench = new ParseBench();

function logCorpus(t: ExecutionContext): void {
  const note = corpusNote();
  if (note !== null) t.log(note);
}

/**
 * Captures whose sections have an unknown major version on purpose: the manifest counts what a lenient reader finds, and here,
 * as in capinfos, reading stops there.
 */
const UNKNOWN_VERSION = /^gopacket__pcapgo_tests_[lb]e_test901\.pcapng$/;

test('the capture reader finds as many packets as the manifest of the corpus says', async (t) => {
  logCorpus(t);
  const captures = await loadCaptures();
  const directory = corpusDirectory();
  if (directory === null) {
    t.true(captures[0].frames.length >= 9);
    return;
  }
  const lines = readFileSync(join(directory, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1);
  const counts = new Map(lines.map((line) => [line.split('\t')[0], Number(line.split('\t')[5])]));
  t.is(captures.length, counts.size);
  const wrong = captures.filter(
    ({ name, frames }) => counts.get(name) !== frames.length && !UNKNOWN_VERSION.test(name),
  );
  t.deepEqual(
    wrong.map(({ name, frames }) => `${name}: ${frames.length}, not ${counts.get(name)}`),
    [],
  );
});

/** How often each outcome came up: a test over a corpus that never reaches a branch shows nothing about it. */
class Tally {
  readonly counts = new Map<string, number>();

  add(p: Parsed): void {
    this.bump(`verdict ${p.verdict}`);
    if (p.verdict !== DROP_NONE) return;
    this.bump(`etherType ${p.etherType}`);
    if (p.innerVlan !== -1) this.bump('two tags');
    else if (p.vlan !== -1) this.bump('one tag');
    this.flags(p.flags);
    if (p.l4 !== -1) this.bump(`transport ${p.protocol}`);
  }

  private flags(flags: number): void {
    if ((flags & PACKET_L3_MALFORMED) !== 0) this.bump('l3 malformed');
    if ((flags & PACKET_L4_MALFORMED) !== 0) this.bump('l4 malformed');
    if ((flags & PACKET_LATER_FRAGMENT) !== 0) this.bump('later fragment');
    if ((flags & PACKET_IPV4_OPTIONS) !== 0) this.bump('options');
    if ((flags & PACKET_IPV6_EXTENSIONS) !== 0) this.bump('extensions');
  }

  private bump(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  /** Outcomes that should have come up and did not. */
  missing(): string[] {
    const outcomes = ['verdict 0', 'one tag', 'two tags', 'later fragment', 'options', 'extensions'];
    const types = [0x0800, 0x0806, 0x86dd].map((type) => `etherType ${type}`);
    const transports = [6, 17, 58].map((protocol) => `transport ${protocol}`);
    return [...outcomes, ...types, ...transports].filter((name) => !this.counts.has(name));
  }
}

test('every frame of every capture: no exception, every rule kept', async (t) => {
  logCorpus(t);
  const tally = new Tally();
  for (const capture of await loadCaptures()) {
    for (const [index, frame] of capture.frames.entries()) {
      const parsed = bench.parse(frame);
      const broken = brokenRule(parsed, frame.length) ?? brokenVerdict(parsed.verdict, frame.length);
      if (broken !== null) t.fail(`${capture.name}, packet ${index + 1}: ${broken}`);
      tally.add(parsed);
    }
  }
  t.deepEqual(tally.missing(), []);
  t.log(Object.fromEntries([...tally.counts].filter(([name]) => !name.startsWith('etherType'))));
});

function brokenVerdict(verdict: number, length: number): string | null {
  if (length < 14) return verdict === DROP_RUNT ? null : 'a runt is dropped';
  if (length > MAX_FRAME_LENGTH) return verdict === DROP_OVERSIZED ? null : 'an oversized frame is dropped';
  return verdict === DROP_NONE ? null : 'any other frame is not dropped';
}

test('a million mutated frames: no exception, every rule kept', async (t) => {
  t.timeout(120_000);
  logCorpus(t);
  const seed = seedOfRun();
  const rerun = rerunLine(seed, 'dist/test/core/corpus/corpus.test.js');
  const random = createRandom(seed);
  const frames = await loadCorpus();
  const tally = new Tally();
  for (let i = 0; i < MUTATIONS; i++) {
    const frame = mutate(frames[random(frames.length)], random);
    let broken: string | null;
    try {
      const parsed = bench.parse(frame, i & 0xff);
      tally.add(parsed);
      broken = brokenRule(parsed, frame.length) ?? brokenVerdict(parsed.verdict, frame.length);
    } catch (error) {
      broken = String(error);
    }
    if (broken !== null) {
      t.fail(`mutation ${i}: ${broken}; ${rerun}\n${Buffer.from(frame).toString('hex')}`);
      return;
    }
  }
  t.deepEqual(tally.missing(), [], rerun);
});

interface IpPacket {
  readonly version: number;
  readonly length: number;
  readonly identification: number;
  readonly flags: number;
  readonly fragmentOffset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly sourceIp: string;
  readonly destinationIp: string;
}

const ipPacket = createRequire(import.meta.url)('ip-packet') as {
  decode(state: { buffer: Uint8Array; start: number; end: number }): IpPacket;
};

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

test('IPv4 headers: the accessors say what ip-packet says', async (t) => {
  logCorpus(t);
  let compared = 0;
  for (const frame of await loadCorpus()) {
    const p = bench.parse(frame);
    // ip-packet reads headers without options only, and does not check lengths.
    if (p.etherType !== 0x0800 || (p.flags & (PACKET_L3_MALFORMED | PACKET_IPV4_OPTIONS)) !== 0) continue;
    const other = ipPacket.decode({ buffer: frame, start: p.l3, end: frame.length });
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const ours = [
      dotted(ipv4Source(view, p.l3)),
      dotted(ipv4Destination(view, p.l3)),
      ipv4TotalLength(view, p.l3),
      ipv4Fragment(view, p.l3),
      ipv4Ttl(view, p.l3),
      ipv4Protocol(view, p.l3),
      p.protocol,
      p.l3End - p.l3,
    ];
    const fragment = (other.flags << 13) | other.fragmentOffset;
    const theirs = [other.sourceIp, other.destinationIp, other.length, fragment, other.ttl, other.protocol];
    const same = [...theirs, other.protocol, other.length].every((value, i) => value === ours[i]);
    if (!same) t.deepEqual(ours, [...theirs, other.protocol, other.length]);
    compared++;
  }
  t.true(compared >= 3, `${compared} compared`);
  if (corpusDirectory() !== null) t.true(compared > 100_000, `${compared} compared`);
});
