/**
 * The capture corpus for tests: reading pcap and pcapng files, and mutating frames by a seeded generator.
 *
 * The captures are not part of the repository. They are looked for in TAPLINE_CORPUS, else in `../shared/pcap` beside it.
 * Without them tests fail under CI; elsewhere they run on a few frames that are generated here, and say so.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { arp, ethernet, fragmentHeader, icmpv6, ipv4, ipv6, tcp, udp, vlan } from '../core/wire/build.js';

export interface Capture {
  readonly name: string;
  /** Captured bytes of each packet, in the order of the file; plain arrays, so that slice() copies. */
  readonly frames: Uint8Array[];
}

/** An integer from 0 to `limit` - 1. */
export type Random = (limit: number) => number;

/** A generator whose sequence the seed fixes (mulberry32). */
export function createRandom(seed: number): Random {
  let state = seed | 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % limit;
  };
}

/** Seed of this run: TAPLINE_SEED, else another one each time. */
export function seedOfRun(): number {
  const given = process.env.TAPLINE_SEED;
  if (given === undefined) return Date.now() & 0x7fffffff;
  if (!/^\d+$/.test(given)) throw new Error(`TAPLINE_SEED: expected a decimal number, got "${given}"`);
  return Number(given) | 0;
}

/** What to print with a failure, so that somebody else gets the same one. */
export function rerunLine(seed: number, testFile: string): string {
  return `to repeat: TAPLINE_SEED=${seed} npx ava ${testFile}`;
}

/** Where the captures are, or null. */
export function corpusDirectory(): string | null {
  const given = process.env.TAPLINE_CORPUS;
  const directory = given ?? join(projectRoot(), '..', 'shared', 'pcap');
  if (existsSync(directory)) return resolve(directory);
  const problem = `no captures at ${resolve(directory)}: set TAPLINE_CORPUS to a directory of pcap and pcapng files`;
  if (given !== undefined || process.env.CI === 'true') throw new Error(problem);
  return null;
}

function projectRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

/** What to log where tests run without the captures, or null where they have them. */
export function corpusNote(): string | null {
  if (corpusDirectory() !== null) return null;
  return 'captures not found: ran on generated frames only; set TAPLINE_CORPUS to a directory of pcap and pcapng files';
}

/** Every frame of the corpus, in the order of file names; or of the generated one. Some are longer than a slot holds. */
export async function loadCorpus(): Promise<Uint8Array[]> {
  return (await loadCaptures()).flatMap((capture) => capture.frames);
}

let loading: Promise<Capture[]> | undefined;

/** The corpus file by file; read once a process. */
export function loadCaptures(): Promise<Capture[]> {
  loading ??= readCaptures();
  return loading;
}

async function readCaptures(): Promise<Capture[]> {
  const directory = corpusDirectory();
  if (directory === null) return [{ name: 'generated', frames: generatedFrames() }];
  const names = readdirSync(directory).filter((name) => /\.pcap(ng)?$/.test(name));
  const captures: Capture[] = [];
  for (const name of names.sort()) captures.push({ name, frames: await readCapture(join(directory, name)) });
  return captures;
}

/** A few frames of each kind that the parse knows. */
export function generatedFrames(): Uint8Array[] {
  const segment = tcp({ srcPort: 40000, dstPort: 80 }, new Uint8Array(100).fill(0x55));
  const datagram = udp({ srcPort: 5353, dstPort: 53 }, new Uint8Array(33).fill(0xaa));
  const fragment = fragmentHeader({ nextHeader: 17, offset: 0, more: true });
  return [
    ethernet(0x0800, ipv4({ protocol: 6 }, segment)),
    ethernet(0x0800, ipv4({ protocol: 17, options: 8 }, datagram)),
    ethernet(0x0800, ipv4({ protocol: 17, offset: 4, more: true }, datagram)),
    ethernet(0x0806, arp({})),
    ethernet(0x8100, vlan(100, 0x0800, ipv4({ protocol: 6 }, segment))),
    ethernet(0x88a8, vlan(7, 0x8100, vlan(100, 0x86dd, ipv6({ nextHeader: 17 }, datagram)))),
    ethernet(0x86dd, ipv6({ nextHeader: 58 }, icmpv6(135, new Uint8Array(24)))),
    ethernet(0x86dd, ipv6({ nextHeader: 44 }, fragment, datagram)),
    ethernet(46, new Uint8Array(46)),
  ];
}

/**
 * Reads one capture file.
 *
 * @throws Error where it is neither pcap nor pcapng; a file that ends in the middle of a packet gives those before
 */
export async function readCapture(path: string): Promise<Uint8Array[]> {
  const bytes = readFileSync(path);
  const magic = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0;
  if (magic === PCAPNG_SECTION) return readPcapng(bytes);
  if (magic === 0xa1b2c3d4 || magic === 0xd4c3b2a1) return readPcap(bytes);
  if (magic === 0xa1b23c4d || magic === 0x4d3cb2a1) return readPcap(withMicrosecondMagic(bytes));
  throw new Error(`${path}: neither pcap nor pcapng`);
}

/** pcap-parser does not know the magic number of nanosecond captures, which differ in nothing else. */
function withMicrosecondMagic(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt32BE(bytes[0] === 0xa1 ? 0xa1b2c3d4 : 0xd4c3b2a1, 0);
  return copy;
}

interface PcapParser {
  on(event: 'packet', listener: (packet: { data: Buffer }) => void): void;
  on(event: 'end', listener: () => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

const { parse: parsePcap } = createRequire(import.meta.url)('pcap-parser') as { parse(input: Readable): PcapParser };

function readPcap(bytes: Buffer): Promise<Uint8Array[]> {
  return new Promise((resolvePromise, reject) => {
    const frames: Uint8Array[] = [];
    const parser = parsePcap(Readable.from([bytes]));
    parser.on('packet', (packet) => frames.push(new Uint8Array(packet.data)));
    parser.on('end', () => resolvePromise(frames));
    parser.on('error', reject);
  });
}

const PCAPNG_SECTION = 0x0a0d0d0a;
const PCAPNG_SIMPLE_PACKET = 3;
const PCAPNG_OBSOLETE_PACKET = 2;
const PCAPNG_ENHANCED_PACKET = 6;
const PCAPNG_INTERFACE = 1;
const PCAPNG_BYTE_ORDER = 0x1a2b3c4d;

/**
 * The packets of a pcapng file (draft-ietf-opsawg-pcapng). All interfaces are taken for Ethernet; timestamps and options are
 * passed over. Reading stops at a section of another major version than 1, as its blocks may mean something else.
 */
export function readPcapng(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Uint8Array[] = [];
  let little = true;
  let snapLength = 0;
  for (let at = 0; at + 12 <= bytes.length; ) {
    if (view.getUint32(at) === PCAPNG_SECTION) {
      little = view.getUint32(at + 8, true) === PCAPNG_BYTE_ORDER;
      if (view.getUint16(at + 12, little) !== 1) return frames;
    }
    const type = view.getUint32(at, little);
    const length = view.getUint32(at + 4, little);
    if (length < 12 || at + length > bytes.length) return frames;
    if (type === PCAPNG_INTERFACE) snapLength = view.getUint32(at + 12, little);
    if (type === PCAPNG_ENHANCED_PACKET || type === PCAPNG_OBSOLETE_PACKET) {
      frames.push(new Uint8Array(bytes.subarray(at + 28, at + 28 + view.getUint32(at + 20, little))));
    } else if (type === PCAPNG_SIMPLE_PACKET) {
      const original = view.getUint32(at + 8, little);
      const captured = Math.min(original, snapLength === 0 ? original : snapLength, length - 16);
      frames.push(new Uint8Array(bytes.subarray(at + 12, at + 12 + captured)));
    }
    at += length;
  }
  return frames;
}

/** A pcap file of Ethernet frames (link type 1), one a second from time 0. */
export function writePcap(frames: readonly Uint8Array[]): Uint8Array {
  const file = new Uint8Array(24 + frames.reduce((sum, frame) => sum + 16 + frame.length, 0));
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262144, true);
  view.setUint32(20, 1, true);
  let at = 24;
  for (const [index, frame] of frames.entries()) {
    view.setUint32(at, index, true);
    view.setUint32(at + 8, frame.length, true);
    view.setUint32(at + 12, frame.length, true);
    file.set(frame, at + 16);
    at += 16 + frame.length;
  }
  return file;
}

/**
 * A damaged copy of a frame: one to three changes, most of them among the headers, where a parse looks. The frame itself stays
 * as it is. Any length can come out, 0 included.
 */
export function mutate(frame: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(frame); // slice() of a Buffer would be no copy
  for (let changes = 1 + random(3); changes > 0; changes--) bytes = change(bytes, random);
  return bytes;
}

/** Values that sit at the edges of what headers check. */
const EDGES = [
  0, 1, 4, 5, 6, 7, 8, 15, 19, 20, 40, 43, 44, 45, 50, 51, 58, 59, 60, 64, 0x45, 0x4f, 0x7f, 0x80, 0xfe, 0xff,
];
const TYPES = [0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x9100, 0, 46, 0x05ff, 0x0600, 0xffff];

function change(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return new Uint8Array(random(64));
  const at = random(random(4) === 0 ? bytes.length : Math.min(bytes.length, 90));
  switch (random(8)) {
    case 0: // cut short
      return bytes.slice(0, random(4) === 0 ? random(bytes.length) : at);
    case 1: // longer: link padding, or bytes of another frame
      return joined(bytes, new Uint8Array(1 + random(80)).fill(random(256)));
    case 2: // a tag, or another type
      return retyped(bytes, TYPES[random(TYPES.length)], random(2) === 0);
    case 3: // eight octets more among the headers, such as an extension header
      return joined(bytes.slice(0, at), new Uint8Array(8).fill(EDGES[random(EDGES.length)]), bytes.slice(at));
    case 4: // eight octets less
      return joined(bytes.slice(0, at), bytes.slice(at + 8));
    case 5:
      bytes[at] = EDGES[random(EDGES.length)];
      return bytes;
    case 6:
      bytes[at] ^= 1 << random(8);
      return bytes;
    default: // a length field that is off by a little
      bytes[at] += random(5) - 2;
      return bytes;
  }
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function retyped(bytes: Uint8Array, type: number, insert: boolean): Uint8Array {
  const typed = Uint8Array.of(type >> 8, type & 0xff);
  return joined(
    bytes.slice(0, 12),
    typed,
    insert ? Uint8Array.of(0, 5) : new Uint8Array(0),
    bytes.slice(insert ? 12 : 14),
  );
}
