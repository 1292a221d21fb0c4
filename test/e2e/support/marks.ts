/**
 * Frames that can be told apart wherever they turn up: the last 16 bytes are a mark, behind all that a protocol's own lengths
 * cover, so that any frame can bear one. A sniffer in a namespace counts the marks that come in.
 */

import { sendFrames } from './frames.js';
import type { Namespace } from './namespace.js';
import { PYTHON } from './scapy.js';
import { eventually } from './wait.js';

const PREFIX = 'TAPLINE-E2E:';
const MARK_LENGTH = PREFIX.length + 4;
const MINIMUM_FRAME = 60;
/** Marks from here on make a sniffer say what it has counted. */
const FIRST_REPORT = 0xff00;

/**
 * A frame with a mark, padded to the least length of Ethernet.
 *
 * @param mark below 0xff00
 */
export function marked(frame: Uint8Array, mark: number): Buffer {
  const padding = Math.max(0, MINIMUM_FRAME - MARK_LENGTH - frame.length);
  const text = PREFIX + mark.toString(16).padStart(4, '0');
  return Buffer.concat([frame, Buffer.alloc(padding), Buffer.from(text, 'latin1')]);
}

/**
 * Local experimental EtherType (IEEE 802, clause 9.2.4).
 *
 * @param ethertype a length below 1536 makes a frame with an LLC header, of a protocol (SAP 0x4a) that nothing here knows
 */
export function plainFrame(destination: string, source: string, ethertype = 0x88b5): Buffer {
  const mac = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
  const type = Buffer.alloc(2);
  type.writeUInt16BE(ethertype);
  const llc = ethertype < 1536 ? Buffer.from('4a4a03', 'hex') : Buffer.alloc(0);
  return Buffer.concat([mac(destination), mac(source), type, llc]);
}

/** Counts until the end of its input's namespace; on a reporting mark it prints one line of JSON, counts by mark. */
const SNIFF = `
import json, socket, sys
device, prefix = sys.argv[1], sys.argv[2].encode()
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
s.bind((device, 3))
print('listening', flush=True)
counts = {}
while True:
    frame = s.recv(65536)
    if frame[-16:-4] != prefix:
        continue
    mark = frame[-4:].decode()
    counts[mark] = counts.get(mark, 0) + 1
    if mark >= 'ff00':
        lost = int.from_bytes(s.getsockopt(263, 6, 8)[4:], sys.byteorder)  # PACKET_STATISTICS: tp_packets, tp_drops
        print(json.dumps({'report': mark, 'lost': lost, 'counts': counts}), flush=True)
`;

export interface Sniffer {
  /** Frames with a mark that have come in, as of the last report. */
  count(mark: number): number;
  /** All marks of frames that have come in, as of the last report, in ascending order. */
  seen(): number[];
  /** Resolves when the report with this mark is there. */
  reported(mark: number): Promise<void>;
}

interface Report {
  readonly report: string;
  readonly lost: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** Starts counting what comes in at an interface of a namespace, until the test ends. */
export async function startSniffer(namespace: Namespace, device = 'eth0'): Promise<Sniffer> {
  const program = namespace.start(PYTHON, '-c', SNIFF, device, PREFIX);
  await program.said(/^listening$/m);
  let counts: Readonly<Record<string, number>> = {};
  const find = (mark: number): Report | undefined => {
    const lines = program.stdout().split('\n').slice(1, -1);
    return lines.map((line) => JSON.parse(line) as Report).find(({ report }) => Number.parseInt(report, 16) === mark);
  };
  return {
    count: (mark) => counts[mark.toString(16).padStart(4, '0')] ?? 0,
    seen: () =>
      Object.keys(counts)
        .map((mark) => Number.parseInt(mark, 16))
        .filter((mark) => mark < FIRST_REPORT)
        .sort((a, b) => a - b),
    reported: async (mark) => {
      await eventually(
        `a sniffer in ${namespace.name} to report`,
        () => find(mark) !== undefined || !program.running(),
      );
      const report = find(mark);
      if (report === undefined) throw new Error(`the sniffer ended: ${program.stderr()}`);
      if (report.lost !== 0) throw new Error(`the sniffer in ${namespace.name} lost ${report.lost} frames`);
      counts = report.counts;
    },
  };
}

let reports = 0;

export interface Watched {
  readonly sniffer: Sniffer;
  /** Somebody from whom a frame reaches the sniffer. */
  readonly from: Namespace;
  readonly fromMac: string;
  readonly device?: string;
  /** A frame that reaches the sniffer; else a broadcast of the test EtherType from `fromMac`. */
  readonly frame?: Uint8Array;
}

/**
 * Brings the counts of sniffers up to date: each is sent a last frame, which comes after all that the switch has received before.
 * The caller has waited until the switch has received what it sent.
 */
export async function report(watched: readonly Watched[]): Promise<void> {
  for (const { sniffer, from, fromMac, device, frame } of watched) {
    const mark = FIRST_REPORT + (reports++ & 0xff);
    await sendFrames(from, [marked(frame ?? plainFrame('ff:ff:ff:ff:ff:ff', fromMac), mark)], device);
    await sniffer.reported(mark);
  }
}

/** A namespace of which nothing comes any more but what a test sends: no address, no IPv6, no ARP. */
export async function mute(namespace: Namespace, device = 'eth0'): Promise<void> {
  await namespace.exec('ip', 'address', 'flush', 'dev', device);
  await namespace.exec('sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`);
}
