/** What tshark, an independent reader, says of the packets that leave: no complaint, and the same as our reader of the outside. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createRandom, rerunLine, seedOfRun, writePcap } from '../../support/corpus.js';
import { filler } from '../nat/wire.js';
import {
  datagram,
  type Loaded,
  segment,
  superDatagram,
  superSegment,
  unfinished,
  withTrafficClass,
} from './support/inner.js';
import { BLUE, container, Host, UPLINK_PORT, underlay4, underlay6, vtepPort } from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { readOuter } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const FIELDS = [
  '_ws.malformed',
  '_ws.expert.severity',
  'ip.checksum.status',
  'udp.checksum.status',
  'tcp.checksum.status',
  'udp.srcport',
  'udp.dstport',
  'vxlan.flags',
  'vxlan.gbp',
  'vxlan.vni',
  'ip.dsfield',
  'ip.ttl',
  'ip.flags.df',
  'ipv6.hlim',
] as const;
/** tshark's levels: chat, note, warning and error, from which on it complains. */
const WARNING = 0x00600000;

type Row = Readonly<Record<(typeof FIELDS)[number], readonly string[]>>;

/** Protocols that stay on: nothing looks into what containers say to each other. */
const PROTOCOLS = /^(frame|eth|ethertype|ip|ipv6|tcp|udp|vxlan|data|(eth|pkt)_.*)$/;

function readWithTshark(frames: readonly Uint8Array[]): Row[] {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-tshark-'));
  try {
    const capture = join(directory, 'frames.pcap');
    writeFileSync(capture, writePcap(frames));
    const names = tshark(['-G', 'protocols']).map((line) => line.split('\t')[2]);
    const others = names.filter((name) => name !== undefined && !PROTOCOLS.test(name));
    writeFileSync(join(directory, 'disabled_protos'), others.join('\n'));
    const checks = ['ip', 'udp', 'tcp'].flatMap((name) => ['-o', `${name}.check_checksum:TRUE`]);
    // Tunnels may leave it out over IPv6 as well (RFC 6935, 5).
    checks.push('-o', 'udp.ignore_ipv6_zero_checksum:TRUE');
    const columns = FIELDS.flatMap((field) => ['-e', field]);
    const format = ['-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=a'];
    return tshark(['-n', '-r', capture, ...checks, ...format, ...columns], directory).map(rowOf);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Its lines. @throws Error where it is not installed, or fails */
function tshark(args: readonly string[], configuration = ''): string[] {
  const env = configuration === '' ? process.env : { ...process.env, WIRESHARK_CONFIG_DIR: configuration };
  const { status, stdout, stderr, error } = spawnSync('tshark', args, { encoding: 'utf8', env, maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`tshark, which this test needs: ${error?.message ?? stderr}`);
  return stdout.split('\n').slice(0, -1);
}

function rowOf(line: string): Row {
  const columns = line.split('|');
  return Object.fromEntries(
    FIELDS.map((field, i) => [field, columns[i] === undefined || columns[i] === '' ? [] : columns[i].split(',')]),
  ) as unknown as Row;
}

test('tshark finds nothing wrong with what leaves, and reads it as we do', (t) => {
  const seed = seedOfRun();
  const random = createRandom(seed);
  const rerun = rerunLine(seed, 'dist/test/core/vxlan/tshark.test.js');
  const frames: Uint8Array[] = [];
  for (const family of [4, 6] as const) {
    for (const checksum of [false, true]) {
      for (const gbp of [-1, 1000]) {
        const options = { checksum, gbp, vni: 1 + random(0xffffff), ttl: 1 + random(255), dscp: random(65) - 1 };
        const one = new Host(1, { family, vxlan: { [BLUE]: options } });
        one.know(2);
        one.addVtep(BLUE, vtepPort(BLUE, 2), family === 4 ? underlay4(2) : underlay6(2));
        for (let i = 0; i < 12; i++) {
          for (const loaded of packets(random)) {
            const sent = one.receive(1, loaded.frame, loaded.vnet).filter(({ port }) => port === UPLINK_PORT);
            frames.push(...sent.flatMap(wireFrames));
          }
        }
      }
    }
  }
  const rows = readWithTshark(frames);
  t.is(rows.length, frames.length);
  for (const [i, row] of rows.entries()) {
    const what = `packet ${i}; ${rerun}\n${Buffer.from(frames[i]).toString('hex')}`;
    const ours = readOuter(frames[i]);
    const wrong = faultOf(row);
    if (wrong !== null) {
      t.fail(`${wrong}: ${what}`);
      return;
    }
    const isIpv4 = ours.from.includes('.');
    t.is(Number(row['udp.srcport'][0]), ours.sourcePort, what);
    t.is(Number(row['udp.dstport'][0]), ours.destinationPort, what);
    t.is(Number(row['vxlan.vni'][0]), ours.vni, what);
    t.is(Number(row['vxlan.flags'][0]) >> 8, ours.flags, what);
    t.is(Number(row[isIpv4 ? 'ip.ttl' : 'ipv6.hlim'][0]), ours.hops, what);
    if (isIpv4) t.is(Number(row['ip.dsfield'][0]), ours.trafficClass, what);
  }
  t.log(`${frames.length} packets`);
});

/** Of each kind, of random lengths; all with right checksums, or ones that are to come. */
function packets(random: (limit: number) => number): Loaded[] {
  const family = random(2) === 0 ? 4 : 6;
  const port = 20_000 + random(20_000);
  const data = filler(1 + random(1200));
  const tcp = { family, port, toPort: 45_001, flags: 'PA', data } as const;
  const udp = { family, port, toPort: 45_001, data } as const;
  return [
    { frame: withTrafficClass(segment(HERE, THERE, { ...tcp, family: 4 }), random(256)), vnet: null },
    { frame: datagram(HERE, THERE, udp), vnet: null },
    unfinished(segment(HERE, THERE, tcp)),
    superSegment(HERE, THERE, 1 + random(20_000), 100 + random(1290), { family, port, toPort: 45_001 }),
    superDatagram(HERE, THERE, 1 + random(8000), 100 + random(1200), family),
  ];
}

function faultOf(row: Row): string | null {
  if (row['_ws.malformed'].length > 0) return 'malformed';
  if (row['_ws.expert.severity'].some((level) => Number(level) >= WARNING))
    return `complaint ${row['_ws.expert.severity']}`;
  // 1: good; 2: not there, which is 0 over UDP.
  if (row['ip.checksum.status'].some((status) => status !== '1')) return `IP checksum ${row['ip.checksum.status']}`;
  if (row['tcp.checksum.status'].some((status) => status !== '1')) return `TCP checksum ${row['tcp.checksum.status']}`;
  if (row['udp.checksum.status'].some((status) => status !== '1' && status !== '3'))
    return `UDP checksum ${row['udp.checksum.status']}`;
  return null;
}
