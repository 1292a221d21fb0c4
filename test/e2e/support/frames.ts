/** Frames on the wire: captured with tcpdump, read with pcap-parser or tshark, sent raw or by scapy. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Namespace } from './namespace.js';
import { must } from './process.js';
import { eventually } from './wait.js';

export interface PcapPacket {
  readonly header: { readonly capturedLength: number; readonly originalLength: number };
  readonly data: Buffer;
}

interface PcapParser {
  on(event: 'packet', listener: (packet: PcapPacket) => void): void;
  on(event: 'end', listener: () => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

const { parse } = createRequire(import.meta.url)('pcap-parser') as { parse(path: string): PcapParser };

/** All packets of a file in pcap format, by a reader that is not ours. */
export function readPcap(path: string): Promise<PcapPacket[]> {
  return new Promise((resolve, reject) => {
    const packets: PcapPacket[] = [];
    const parser = parse(path);
    parser.on('packet', (packet) => packets.push(packet));
    parser.on('error', reject);
    parser.on('end', () => resolve(packets));
  });
}

/** More than a frame without offloads has, so that one that is too long is still seen as such. */
const SNAP_LENGTH = 2048;

export interface Tcpdump {
  readonly path: string;
  /** Waits until a frame that contains this text is in the file. */
  has(text: string): Promise<void>;
  /** Ends the capture. Resolves to the frames. */
  frames(): Promise<Buffer[]>;
}

/**
 * Captures on an interface of a namespace until `frames()` is called.
 *
 * @param direction `in` leaves out what the namespace itself sent
 * @param filter in tcpdump's language
 */
export async function tcpdump(
  t: ExecutionContext,
  namespace: Namespace,
  {
    device = 'eth0',
    direction = 'inout',
    filter = '',
  }: { device?: string; direction?: 'in' | 'out' | 'inout'; filter?: string },
): Promise<Tcpdump> {
  const path = join(temporaryDirectory(t), 'capture.pcap');
  // Large buffer: on a busy machine tcpdump is not scheduled for long, and a frame that it lost would look like ours.
  // Immediate mode: else the frames of the last second would still be in the kernel when we end it. In this mode each frame
  // takes the room of the longest from the buffer, so it is cut behind what an interface without offloads can send.
  const options = [
    '--immediate-mode',
    '-i',
    device,
    '-Q',
    direction,
    '-B',
    '65536',
    '-s',
    String(SNAP_LENGTH),
    '-U',
    '-Z',
    'root',
    '-w',
    path,
  ];
  const process = namespace.start('tcpdump', ...options, filter);
  await process.said(/listening on/);
  return {
    path,
    has: (text) => eventually(`a frame with "${text}"`, () => readFileSync(path).includes(text)),
    frames: async () => {
      const { stderr } = await process.stop('SIGINT');
      const lost = /^(\d+) packets dropped by kernel$/m.exec(stderr)?.[1];
      if (lost !== '0') throw new Error(`tcpdump lost ${lost} packets: ${stderr}`);
      return (await readPcap(path)).map(({ data }) => data);
    },
  };
}

export function temporaryDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Has tshark verify all checksums. */
const VERIFY = [
  ...['ip', 'tcp', 'udp', 'udplite'].map((protocol) => `${protocol}.check_checksum:TRUE`),
  'sctp.checksum:CRC 32c',
].flatMap((setting) => ['-o', setting]);

/** Random ports and random payload look like some protocol to it now and then, and like a malformed one then. */
export const PLAIN_PAYLOAD = ['tcp', 'udp'].flatMap((protocol) => ['-d', `${protocol}.port==1-65535,data`]);

/**
 * How many packets each of the display filters lets through, by one run of tshark. No filter has a comma.
 *
 * @param more of its options
 */
export async function tsharkCounts(
  path: string,
  filters: readonly string[],
  more: readonly string[] = [],
): Promise<number[]> {
  const statistics = `io,stat,0,${filters.join(',')}`;
  const text = await must(['tshark', '-n', '-q', '-r', path, ...VERIFY, ...more, '-z', statistics]);
  // | from <> to | packets | bytes | packets | bytes ...
  const row = text.split('\n').find((line) => line.includes('<>') && !line.includes('Interval')) ?? '';
  const numbers = row.split('|').slice(2).map(Number);
  const counts = filters.map((_, index) => numbers[2 * index] ?? Number.NaN);
  if (counts.some(Number.isNaN)) throw new Error(`tshark: ${text}`);
  return counts;
}

/**
 * One row of values for each packet that the display filter lets through, by tshark, with all checksums verified.
 *
 * @param more of its options
 */
export async function tshark(
  path: string,
  fields: readonly string[],
  filter = '',
  more: readonly string[] = [],
): Promise<string[][]> {
  const wanted = fields.flatMap((field) => ['-e', field]);
  const select = filter === '' ? [] : ['-Y', filter];
  const text = await must(['tshark', '-n', '-r', path, ...VERIFY, ...more, ...select, '-T', 'fields', ...wanted]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

/**
 * Display filter for any checksum that is wrong. Linux sends 0xffff where a TCP checksum comes out as 0 (skb_checksum_help), one
 * packet of 65,536: the same number in one's complement, which every receiver takes and tshark alone calls wrong.
 */
export const BAD_CHECKSUM =
  'ip.checksum.status == 0 || (tcp.checksum.status == 0 && tcp.checksum != 0xffff) || udp.checksum.status == 0';

/** Local experimental EtherType (IEEE 802, clause 9.2.4): nothing else on a wire of ours has it. */
export const TEST_ETHERTYPE = 0x88b5;
export const TEST_FILTER = 'ether proto 0x88b5';

/** A frame of the test EtherType with a text as payload, padded to the least length of Ethernet. */
export function testFrame(destination: string, source: string, text: string): Buffer {
  const frame = Buffer.alloc(60);
  frame.set(Buffer.from(destination.replaceAll(':', ''), 'hex'), 0);
  frame.set(Buffer.from(source.replaceAll(':', ''), 'hex'), 6);
  frame.writeUInt16BE(TEST_ETHERTYPE, 12);
  frame.write(text, 14);
  return frame;
}

/** The text in a frame that `testFrame` made. */
export function testText(frame: Buffer): string {
  return frame.toString('utf8', 14).replace(/\0+$/, '');
}

const SEND = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((sys.argv[1], 0))
for line in sys.stdin:
    s.send(bytes.fromhex(line.strip()))
`;

/** Sends frames as they are out of an interface of a namespace, in order. */
export async function sendFrames(namespace: Namespace, frames: readonly Uint8Array[], device = 'eth0'): Promise<void> {
  const input = frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join('');
  const result = await namespace.run(['python3', '-c', SEND, device], { input });
  if (result.code !== 0) throw new Error(`sending frames: ${result.stderr}`);
}

/** Sends packets that scapy builds from Python expressions, out of an interface of a namespace, in order. */
export async function sendScapy(namespace: Namespace, packets: readonly string[], device = 'eth0'): Promise<void> {
  const script = `from scapy.all import *\nsendp([${packets.join(', ')}], iface=${JSON.stringify(device)}, verbose=False)\n`;
  // Debian's scapy belongs to Debian's Python, which need not be the first one on PATH.
  const result = await namespace.run(['/usr/bin/python3', '-c', script]);
  if (result.code !== 0) throw new Error(`scapy: ${result.stderr}`);
}
