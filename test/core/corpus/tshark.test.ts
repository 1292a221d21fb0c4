/** The parse against tshark on every frame of the corpus: every difference is of a known class, with a reason and a count. */

import test, { type ExecutionContext } from 'ava';
import {
  finishChecksum,
  foldSum,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
  sumBytes,
} from '../../../core/packet/checksum.js';
import { PACKET_FRAGMENT, PACKET_L3_MALFORMED, PACKET_L4_MALFORMED } from '../../../core/packet/packet.js';
import { ipv4HeaderLength } from '../../../core/wire/ipv4.js';
import { udpLength } from '../../../core/wire/udp.js';
import { isVlanType } from '../../../core/wire/vlan.js';
import { corpusNote, loadCorpus } from '../../support/corpus.js';
import { ParseBench, type Parsed } from '../wire/parsed.js';
import { type Facts, ourFacts, tsharkFacts } from './expected.js';
import { type Row, readWithTshark } from './tshark.js';

/** Frames in the corpus that the counts below belong to; other captures may have other counts, but no other classes. */
const CORPUS_FRAMES = 123_963;

interface Difference {
  readonly reason: string;
  readonly count: number;
  /** Whether a difference is of this class. `fields` are the names of the facts that differ. */
  matches(fields: string, ours: Facts, theirs: Facts, row: Row, frame: Uint8Array): boolean;
}

/** Counts are those of tshark 4.0.17. */
const DIFFERENCES: readonly Difference[] = [
  {
    reason: 'total length 0, from a host that captured before segmentation: tshark takes what the frame holds',
    count: 19,
    matches: (_fields, ours, _theirs, _row, frame) =>
      ours.etherType === 0x0800 && ours.vlans === '' && ours.malformed && frame[16] === 0 && frame[17] === 0,
  },
  {
    reason: 'three tags or more: we read two and stop, by contract',
    count: 54,
    matches: (_fields, ours, theirs) => isVlanType(ours.etherType) && theirs.vlans.startsWith(`${ours.vlans} `),
  },
  {
    reason: 'Cisco ISL, which has no EtherType: tshark gives the length of the frame inside',
    count: 5,
    matches: (fields, ours, _theirs, row) =>
      fields.includes('etherType') &&
      ours.dstMac.startsWith('01:00:0c:00:00') &&
      row['frame.protocols'][0].startsWith('eth:eth'),
  },
  {
    reason: 'a single 802.1ad tag: tshark prints no field with the EtherType behind it',
    count: 1,
    matches: (_fields, _ours, theirs, row) => theirs.etherType === 0x88a8 && row['ieee8021ad.id'].length > 0,
  },
  {
    reason: 'record route option: tshark reports the next address in the option as the destination',
    count: 2,
    matches: (fields, _ours, _theirs, row) => fields === 'dst' && Number(row['ip.hdr_len'][0]) > 20,
  },
  {
    reason: 'an option that overruns its extension header ends the dissection: we pass over the header by its length',
    count: 1,
    matches: (fields, ours, _theirs, row) =>
      fields === 'transportMalformed srcPort dstPort' && ours.etherType === 0x86dd && isMalformedExtension(row),
  },
];

function isMalformedExtension(row: Row): boolean {
  return row['_ws.malformed'].some((text) => text.startsWith('[Malformed Packet: IPv6'));
}

const frames = await loadCorpus();
const rows = readWithTshark(frames);
const bench = new ParseBench();
const complete = frames.length === CORPUS_FRAMES;

function differingFields(ours: Facts, theirs: Facts): string {
  const names = Object.keys(ours) as (keyof Facts)[];
  return names.filter((name) => ours[name] !== theirs[name]).join(' ');
}

function describe(index: number, fields: string, ours: Facts, theirs: Facts): string {
  const hex = Buffer.from(frames[index].subarray(0, 100)).toString('hex');
  return `frame ${index + 1}: ${fields}\n  ours    ${JSON.stringify(ours)}\n  tshark  ${JSON.stringify(theirs)}\n  ${hex}`;
}

function logCorpus(t: ExecutionContext): void {
  const note = corpusNote();
  if (note !== null) t.log(note);
}

test('every frame: addresses, types, tags, protocol, ports and fragments as tshark reads them', (t) => {
  logCorpus(t);
  const counts = new Array<number>(DIFFERENCES.length).fill(0);
  const unknown: string[] = [];
  let compared = 0;
  for (const [index, frame] of frames.entries()) {
    const parsed = bench.parse(frame);
    if (parsed.verdict !== 0) continue; // runts and frames longer than a slot: see the corpus test
    compared++;
    const ours = ourFacts(frame, parsed);
    const theirs = tsharkFacts(rows[index], frame.length);
    const fields = differingFields(ours, theirs);
    if (fields === '') continue;
    const known = DIFFERENCES.findIndex((difference) => difference.matches(fields, ours, theirs, rows[index], frame));
    if (known === -1) unknown.push(describe(index, fields, ours, theirs));
    else counts[known]++;
  }
  t.is(unknown.length, 0, `${unknown.length} differences of no known class\n${unknown.slice(0, 5).join('\n')}`);
  t.true(compared > 0);
  const expected = DIFFERENCES.map(({ reason, count }) => ({ reason, count }));
  const found = DIFFERENCES.map(({ reason }, i) => ({ reason, count: counts[i] }));
  if (complete) t.deepEqual(found, expected);
});

/** tshark's word for a checksum: '0' bad, '1' good, others for one that it did not judge. */
function judged(row: Row, field: 'ip' | 'tcp' | 'udp' | 'icmp' | 'icmpv6'): string {
  return row[`${field}.checksum.status`][0] ?? '';
}

function verdict(sum: number): string {
  return finishChecksum(sum) === 0 ? '1' : '0';
}

/** Our verdict on the transport checksum of a whole, sound packet; '' where there is none that we can judge. */
function transportVerdict(
  view: DataView,
  p: Parsed,
): { name: 'tcp' | 'udp' | 'icmp' | 'icmpv6' | ''; verdict: string } {
  const v6 = p.etherType === 0x86dd;
  const room = p.l3End - p.l4;
  const pseudo = (length: number) =>
    v6 ? pseudoHeaderSum6(view, p.l3, p.protocol, length) : pseudoHeaderSum4(view, p.l3, p.protocol, length);
  const sum = (length: number) => foldSum(pseudo(length) + sumBytes(view, p.l4, length));
  if (p.protocol === 6) return { name: 'tcp', verdict: verdict(sum(room)) };
  if (p.protocol === 17) return { name: 'udp', verdict: verdict(sum(udpLength(view, p.l4) || room)) };
  if (p.protocol === 58 && v6) return { name: 'icmpv6', verdict: verdict(sum(room)) };
  if (p.protocol === 1 && !v6) return { name: 'icmp', verdict: verdict(sumBytes(view, p.l4, room)) };
  return { name: '', verdict: '' };
}

test('checksums are good and bad where tshark says so', (t) => {
  logCorpus(t);
  const wrong: string[] = [];
  const seen: Record<string, number> = {};
  for (const [index, frame] of frames.entries()) {
    const row = rows[index];
    const parsed = bench.parse(frame);
    if (parsed.l3 === -1 || parsed.etherType === 0x0806 || (parsed.flags & PACKET_L3_MALFORMED) !== 0) continue;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const compare = (name: string, ours: string, theirs: string) => {
      if (theirs !== '0' && theirs !== '1') return;
      seen[`${name} ${theirs}`] = (seen[`${name} ${theirs}`] ?? 0) + 1;
      if (ours !== theirs) wrong.push(`frame ${index + 1}: ${name}: ours ${ours}, tshark ${theirs}`);
    };
    if (parsed.etherType === 0x0800) {
      compare('ip', verdict(sumBytes(view, parsed.l3, ipv4HeaderLength(view, parsed.l3))), judged(row, 'ip'));
    }
    // Routing headers and the Home Address option put other addresses into the pseudo-header (RFC 8200, 8.1; RFC 6275, 6.3).
    const rerouted = row['ipv6.routing.nxt'].length + row['ipv6.dstopts.nxt'].length > 0;
    if (parsed.l4 === -1 || rerouted || (parsed.flags & (PACKET_FRAGMENT | PACKET_L4_MALFORMED)) !== 0) continue;
    const ours = transportVerdict(view, parsed);
    if (ours.name !== '') compare(ours.name, ours.verdict, judged(row, ours.name));
  }
  t.is(wrong.length, 0, `${wrong.length} differences\n${wrong.slice(0, 20).join('\n')}`);
  t.log(JSON.stringify(seen));
  if (complete)
    for (const name of ['ip', 'tcp', 'udp', 'icmp', 'icmpv6'])
      t.true(seen[`${name} 1`] > 0 && seen[`${name} 0`] > 0, name);
});
