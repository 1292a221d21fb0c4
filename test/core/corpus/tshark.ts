/** What tshark, an independent reader, says of frames: one run over one capture file that is written for it. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writePcap } from '../../support/corpus.js';

/** Protocols that stay on. All above them is off, so that nothing inside a tunnel or a quoted packet is taken for the packet's own. */
const PROTOCOLS =
  /^(frame|eth|ethertype|vlan|ieee8021ad|ip|ipv6|ipv6\.(hopopts|dstopts|fraghdr|routing.*)|arp|tcp|udp|icmp|icmpv6|ah|data|(eth|pkt)_.*)$/;

const PREFERENCES = [
  'ip.defragment:FALSE',
  'ipv6.defragment:FALSE',
  'tcp.desegment_tcp_streams:FALSE',
  'ip.check_checksum:TRUE',
  'tcp.check_checksum:TRUE',
  'udp.check_checksum:TRUE',
];

export const FIELDS = [
  'frame.protocols',
  '_ws.malformed',
  'eth.dst',
  'eth.src',
  'eth.type',
  'eth.len',
  'ieee8021ad.id',
  'vlan.id',
  'vlan.etype',
  'vlan.len',
  'arp.hw.type',
  'arp.proto.type',
  'arp.hw.size',
  'arp.proto.size',
  'arp.src.proto_ipv4',
  'arp.dst.proto_ipv4',
  'ip.version',
  'ip.hdr_len',
  'ip.len',
  'ip.src',
  'ip.dst',
  'ip.proto',
  'ip.frag_offset',
  'ip.flags.mf',
  'ip.checksum.status',
  'ipv6.version',
  'ipv6.plen',
  'ipv6.src',
  'ipv6.dst',
  'ipv6.nxt',
  'ipv6.hopopts.nxt',
  'ipv6.hopopts.len_oct',
  'ipv6.routing.nxt',
  'ipv6.routing.len_oct',
  'ipv6.fraghdr.nxt',
  'ipv6.fraghdr.offset',
  'ipv6.fraghdr.more',
  'ipv6.dstopts.nxt',
  'ipv6.dstopts.len_oct',
  'ah.next_header',
  'ah.length',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.hdr_len',
  'tcp.checksum.status',
  'udp.srcport',
  'udp.dstport',
  'udp.length',
  'udp.checksum.status',
  'icmp.checksum.status',
  'icmpv6.checksum.status',
] as const;

export type Field = (typeof FIELDS)[number];

/** One frame: every occurrence of each field, from the outermost in; none where the frame has no such field. */
export type Row = Readonly<Record<Field, readonly string[]>>;

/**
 * Runs tshark over the frames.
 *
 * @throws Error where tshark is not installed, fails, or gives another number of rows
 */
export function readWithTshark(frames: readonly Uint8Array[]): Row[] {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-tshark-'));
  try {
    const capture = join(directory, 'frames.pcap');
    writeFileSync(capture, writePcap(frames));
    writeFileSync(join(directory, 'disabled_protos'), disabledProtocols().join('\n'));
    const rows = readFields(directory, capture);
    if (rows.length !== frames.length) throw new Error(`tshark: ${rows.length} rows for ${frames.length} frames`);
    return rows;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function disabledProtocols(): string[] {
  const names = tshark(['-G', 'protocols'], {}).map((line) => line.split('\t')[2]);
  return names.filter((name) => name !== undefined && !PROTOCOLS.test(name));
}

function readFields(directory: string, capture: string): Row[] {
  const options = PREFERENCES.flatMap((preference) => ['-o', preference]);
  const output = [
    '-T',
    'fields',
    '-E',
    'separator=|',
    '-E',
    'occurrence=a',
    ...FIELDS.flatMap((field) => ['-e', field]),
  ];
  return tshark(['-n', '-r', capture, ...options, ...output], { WIRESHARK_CONFIG_DIR: directory }).map(readRow);
}

function readRow(line: string): Row {
  const columns = line.split('|');
  const row: Partial<Record<Field, string[]>> = {};
  for (const [index, field] of FIELDS.entries()) {
    const column = columns[index] ?? '';
    row[field] = column === '' ? [] : column.split(',');
  }
  return row as Row;
}

function tshark(args: string[], environment: Record<string, string>): string[] {
  const env = { ...process.env, ...environment };
  const run = spawnSync('tshark', args, { encoding: 'utf8', env, maxBuffer: 2 ** 30, timeout: 120_000 });
  if (run.error) throw new Error(`tshark: ${run.error.message}; install the Debian package tshark`);
  if (run.status !== 0) throw new Error(`tshark: exit ${run.status}: ${run.stderr}`);
  return run.stdout.trimEnd().split('\n');
}
