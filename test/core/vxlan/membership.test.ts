/** What a listener of the underlay's groups says, when, and to queriers of which version. */

import test from 'ava';
import fc from 'fast-check';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import type { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader } from '../../../core/packet/vnet.js';
import type { RouterInterface } from '../../../core/router/interface.js';
import { GroupMembership, type MembershipSender } from '../../../core/vxlan/membership.js';
import { parse } from '../../../core/wire/parse.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import type { SentFrame } from '../../support/harness.js';
import { address, makeInterface, OWN_LINK_LOCAL, OWN_MAC } from '../router/neighbor-context.js';
import {
  ALERT,
  igmp,
  ip4,
  ip6,
  mld1Query,
  mld2Query,
  slowChecksum,
  v2Query,
  v2Report,
  v3Query,
} from '../switch/multicast.js';
import { BLUE, expectWhole, groupPort, Host, UPLINK_PORT, underlayMac } from './support/lab.js';

const GROUP = '239.1.1.1';
const OTHER = '239.1.1.2';
const GROUP6 = 'ff05::42';
const OWN = '172.30.0.1';
/** Milliseconds a tick. */
const TICK = 1000;

/** Stands for the router: one interface, and what leaves by it as text. */
class Sender implements MembershipSender {
  readonly arena = new Arena(new ArrayBuffer(3 * SLOT_STRIDE));
  readonly seed: number;
  readonly interfaces: (RouterInterface | null)[] = [null, makeInterface()];
  readonly sent: string[] = [];
  isFull = false;

  constructor(seed = 77) {
    this.seed = seed;
  }

  get iface(): RouterInterface {
    return this.interfaces[1] as RouterInterface;
  }

  begin(): Packet | null {
    const slot = this.isFull ? -1 : this.arena.allocate();
    if (slot < 0) return null;
    const packet = this.arena.packets[slot];
    packet.start = this.arena.receiveOffset(slot) + VNET_HEADER_LENGTH;
    this.arena.bytes.fill(0xa5, packet.start, packet.start + 2000);
    clearVnetHeader(this.arena, packet);
    return packet;
  }

  sendFrame(packet: Packet, iface: RouterInterface): void {
    if (iface !== this.iface) throw new Error('out of another interface');
    this.sent.push(read([...this.arena.bytes.slice(packet.start, packet.start + packet.length)]));
    this.arena.release(packet.slot);
  }
}

class Scene {
  readonly sender: Sender;
  readonly membership: GroupMembership;
  now = 0x7fffff00;

  constructor(seed?: number) {
    this.sender = new Sender(seed);
    this.membership = new GroupMembership(this.sender);
    this.membership.tick(this.now);
  }

  join(group: string): string[] {
    this.membership.join(1, ...address(group));
    return this.take();
  }

  leave(group: string): string[] {
    this.membership.leave(1, ...address(group));
    return this.take();
  }

  /** What is said in so many ticks, by the second it is said in. */
  pass(ticks: number, length = TICK): string[][] {
    return Array.from({ length: ticks }, () => {
      this.now = (this.now + length) | 0;
      this.membership.tick(this.now);
      return this.take();
    });
  }

  /** All that is said in so many ticks. */
  passAll(ticks: number): string[] {
    return this.pass(ticks).flat();
  }

  hear(frame: Uint8Array): boolean {
    const { arena } = this.sender;
    const packet = this.sender.begin() as Packet;
    arena.bytes.set(frame, packet.start);
    packet.length = frame.length;
    parse(arena, packet);
    const heard = this.membership.hear(packet, this.sender.iface);
    arena.release(packet.slot);
    return heard;
  }

  take(): string[] {
    return this.sender.sent.splice(0);
  }

  /** A scene that has said all it had to of the groups. */
  settled(...groups: string[]): this {
    for (const group of groups) this.join(group);
    this.passAll(3);
    return this;
  }
}

const text = (bytes: readonly number[]): string =>
  bytes.length === 4
    ? bytes.join('.')
    : Array.from({ length: 8 }, (_, i) => (bytes[2 * i] * 256 + bytes[2 * i + 1]).toString(16))
        .join(':')
        .replace(/(:0)+:/, '::');
const long = (group: string): string => text(group.includes(':') ? ip6(group) : ip4(group));

/** Kind, destination and what is said; throws where a field that is the same in all of them is not as it must be. */
function read(frame: number[]): string {
  if (`${frame.slice(6, 12)}` !== `${OWN_MAC}`) throw new Error('from another MAC');
  return frame[12] === 0x08 ? readIgmp(frame) : readMld(frame);
}

function expect(actual: readonly number[], expected: readonly number[], what: string): void {
  if (`${actual}` !== `${expected}`) throw new Error(`${what}: ${actual} instead of ${expected}`);
}

function readIgmp(frame: number[]): string {
  const to = frame.slice(30, 34);
  expect(frame.slice(0, 6), [1, 0, 0x5e, to[1] & 127, to[2], to[3]], 'MAC of the group');
  const length = frame[16] * 256 + frame[17];
  const header = frame.slice(14, 38);
  expect(header.slice(0, 2), [0x46, 0xc0], 'version, precedence');
  expect([...header.slice(4, 10), ...header.slice(12, 16)], [0, 0, 0, 0, 1, 2, ...ip4(OWN)], 'header');
  expect(header.slice(20), [0x94, 4, 0, 0], 'Router Alert');
  const message = frame.slice(38, 14 + length);
  expect([slowChecksum(header), slowChecksum(message)], [0, 0], 'checksums');
  expect(frame.slice(14 + length), new Array(Math.max(0, 46 - length)).fill(0), 'padding');
  if (message[0] !== 0x22) {
    expect([message.length, message[1]], [8, 0], 'length, response');
    return `${message[0].toString(16)} ${text(to)} ${text(message.slice(4))}`;
  }
  return `22 ${text(to)} ${readRecords(message, 4)}`;
}

function readMld(frame: number[]): string {
  const to = frame.slice(38, 54);
  expect(frame.slice(0, 6), [0x33, 0x33, ...to.slice(12)], 'MAC of the group');
  const message = frame.slice(62);
  expect(frame.slice(14, 18), [0x60, 0, 0, 0], 'version');
  expect([frame[18] * 256 + frame[19], ...frame.slice(20, 22)], [8 + message.length, 0, 1], 'header');
  expect(frame.slice(22, 38), ip6(OWN_LINK_LOCAL), 'source');
  expect(frame.slice(54, 62), [58, ...ALERT], 'Router Alert');
  const pseudo = [...frame.slice(22, 54), 0, 0, message.length >> 8, message.length & 255, 0, 0, 0, 58];
  expect([slowChecksum([...pseudo, ...message])], [0], 'checksum');
  expect([message[1]], [0], 'code');
  if (message[0] === 143) return `143 ${text(to)} ${readRecords(message, 16)}`;
  expect([message.length, ...message.slice(4, 8)], [24, 0, 0, 0, 0], 'length, response');
  return `${message[0]} ${text(to)} ${text(message.slice(8))}`;
}

function readRecords(message: number[], addressLength: number): string {
  expect([message[1], ...message.slice(4, 6)], [0, 0, 0], 'reserved');
  const length = 4 + addressLength;
  const records: string[] = [];
  for (let at = 8; at < message.length; at += length) {
    expect(message.slice(at + 1, at + 4), [0, 0, 0], 'auxiliary data, sources');
    records.push(`${message[at]}:${text(message.slice(at + 4, at + length))}`);
  }
  expect([message[6] * 256 + message[7]], [records.length], 'number of records');
  return records.join(' ');
}

const report = (type: number, ...groups: string[]): string =>
  `${groups[0].includes(':') ? '143 ff02::16' : '22 224.0.0.22'} ${groups.map((group) => `${type}:${long(group)}`).join(' ')}`;
const IS_EXCLUDE = 2;
const TO_INCLUDE = 3;
const TO_EXCLUDE = 4;
const v1Query = (): Uint8Array => igmp('224.0.0.1', [0x11, 0, 0, 0, 0, 0, 0, 0], { from: '172.30.0.2', options: [] });

for (const group of [GROUP, GROUP6]) {
  test(`a join is reported at once, and again within a second; so is a leave: ${group}`, (t) => {
    const s = new Scene();
    t.deepEqual(s.join(group), [report(TO_EXCLUDE, group)]);
    t.deepEqual(s.pass(5), [[report(TO_EXCLUDE, group)], [], [], [], []]);
    t.deepEqual(s.leave(group), [report(TO_INCLUDE, group)]);
    t.deepEqual(s.pass(5), [[report(TO_INCLUDE, group)], [], [], [], []]);
    t.deepEqual(s.join(group), [report(TO_EXCLUDE, group)], 'as if it had never been there');
    t.is(s.sender.arena.available, 3);
  });

  test(`several listeners to one group are one member: ${group}`, (t) => {
    const s = new Scene().settled(group);
    t.deepEqual(s.join(group), []);
    t.deepEqual(s.leave(group), []);
    t.deepEqual(s.passAll(3), []);
    t.deepEqual(s.leave(group), [report(TO_INCLUDE, group)]);
  });

  test(`joined again while the leave is still being told: ${group}`, (t) => {
    const s = new Scene().settled(group);
    s.leave(group);
    t.deepEqual(s.join(group), [report(TO_EXCLUDE, group)]);
    t.deepEqual(s.passAll(5), [report(TO_EXCLUDE, group)]);
  });
}

test('several joins at once: none is told twice before a tick', (t) => {
  const s = new Scene();
  t.deepEqual([...s.join(GROUP), ...s.join(OTHER)], [report(TO_EXCLUDE, GROUP), report(TO_EXCLUDE, OTHER)]);
  t.deepEqual(s.passAll(5), [report(TO_EXCLUDE, GROUP, OTHER)]);
});

test('what nobody has joined cannot be left', (t) => {
  const s = new Scene().settled(GROUP);
  t.throws(() => s.leave(OTHER), { instanceOf: RangeError, message: 'a group is left that nobody has joined' });
  s.leave(GROUP);
  t.throws(() => s.leave(GROUP), { instanceOf: RangeError });
});

for (const [name, groups, query, within] of [
  ['IGMPv3', [GROUP, OTHER], (): Uint8Array => v3Query({ response: 100 }), 10],
  ['MLDv2', [GROUP6, 'ff05::43'], (): Uint8Array => mld2Query({ response: 10_000 }), 10],
  ['IGMPv3, with a response time in floating point', [GROUP, OTHER], () => v3Query({ response: 0x8a }), 21],
] as const) {
  test(`a general query is answered once, with all groups, in time, at random: ${name}`, (t) => {
    const seconds = new Set<number>();
    for (let seed = 1; seed < 200; seed++) {
      const s = new Scene(seed * 7919).settled(...groups);
      t.true(s.hear(query()));
      const said = [s.take(), ...s.pass(within + 2)];
      t.deepEqual(said.flat(), [report(IS_EXCLUDE, ...groups)]);
      const second = said.findIndex((some) => some.length > 0);
      t.true(second < within, `${second}`);
      seconds.add(second);
    }
    t.true(seconds.size > within / 2, `${seconds.size} different seconds`);
  });
}

test('an answer is never late, however the ticks lie', (t) => {
  for (const length of [100, 333, 1000]) {
    for (let seed = 1; seed < 100; seed++) {
      const s = new Scene(seed * 104729).settled(GROUP);
      s.hear(v3Query({ response: 40 }));
      const said = [s.take(), ...s.pass(Math.floor(4000 / length), length)];
      t.deepEqual(said.flat(), [report(IS_EXCLUDE, GROUP)], `${length} ms`);
    }
  }
});

for (const [what, query, groups] of [
  ['IGMPv3', v3Query({ group: OTHER, response: 10 }), [OTHER]],
  ['IGMPv3, for some sources', v3Query({ group: OTHER, response: 10, sources: ['10.0.0.1'] }), [OTHER]],
  ['IGMPv3, of another group', v3Query({ group: '239.9.9.9', response: 10 }), []],
  // It is no general one, so its version is not the querier's (RFC 3376, 7.2.1).
  ['IGMPv2', v2Query({ group: OTHER, response: 10 }), [OTHER]],
  ['MLDv2', mld2Query({ group: GROUP6, response: 1000 }), [GROUP6]],
  ['MLDv1', mld1Query({ group: GROUP6, response: 1000 }), [GROUP6]],
  ['MLDv2, of another group', mld2Query({ group: 'ff05::43', response: 1000 }), []],
] as const) {
  test(`a query for one group is answered for that, at once where a second is all there is: ${what}`, (t) => {
    const s = new Scene().settled(GROUP, OTHER, GROUP6);
    t.true(s.hear(query));
    t.deepEqual(
      s.take(),
      groups.map((group) => report(IS_EXCLUDE, group)),
    );
    t.deepEqual(s.passAll(20), []);
  });
}

test('an answer that is due before a new query asks for it is not put off', (t) => {
  const s = new Scene().settled(GROUP);
  for (let i = 0; i < 50; i++) s.hear(v3Query({ response: 100 }));
  s.hear(v3Query({ response: 0xff }));
  t.deepEqual([...s.take(), ...s.passAll(10)].length > 0, true);
  t.deepEqual(s.passAll(60), []);
});

test('a group that is left is not answered for', (t) => {
  const s = new Scene().settled(GROUP, GROUP6);
  s.leave(GROUP);
  s.hear(v3Query({ response: 10 }));
  t.false(s.take().includes(report(IS_EXCLUDE, GROUP)));
});

test('to a querier of version 2 reports are of version 2, for 260 s after its last query', (t) => {
  const s = new Scene().settled(GROUP, OTHER);
  t.true(s.hear(v2Query({ response: 100 })));
  t.deepEqual([...s.take(), ...s.passAll(11)].sort(), [`16 ${GROUP} ${GROUP}`, `16 ${OTHER} ${OTHER}`]);
  t.deepEqual(s.leave(OTHER), [`17 224.0.0.2 ${OTHER}`]);
  t.deepEqual(s.passAll(5), []);
  t.deepEqual([...s.join(OTHER), ...s.passAll(3)], [`16 ${OTHER} ${OTHER}`, `16 ${OTHER} ${OTHER}`]);
  s.hear(v3Query({ response: 10 }));
  t.deepEqual(s.take().sort(), [`16 ${GROUP} ${GROUP}`, `16 ${OTHER} ${OTHER}`], 'of a newer one besides it too');
  t.deepEqual(s.passAll(240), []);
  s.hear(v3Query({ response: 10 }));
  t.is(s.take().length, 2);
  t.deepEqual(s.passAll(2), []);
  t.deepEqual(s.passAll(2), []);
  s.hear(v3Query({ response: 10 }));
  t.deepEqual(s.take(), [report(IS_EXCLUDE, GROUP, OTHER)]);
});

test('to a querier of version 1 reports are of version 1, and leaves are not told', (t) => {
  const s = new Scene().settled(GROUP);
  s.hear(v2Query({ response: 10 }));
  s.take();
  t.true(s.hear(v1Query()));
  t.deepEqual([...s.take(), ...s.passAll(11)], [`12 ${GROUP} ${GROUP}`]);
  t.deepEqual([...s.leave(GROUP), ...s.passAll(5)], []);
  t.deepEqual([...s.join(GROUP), ...s.passAll(5)], [`12 ${GROUP} ${GROUP}`, `12 ${GROUP} ${GROUP}`]);
});

test('to a querier of MLDv1 reports and leaves are of that version, and IGMP is not concerned', (t) => {
  const s = new Scene().settled(GROUP, GROUP6);
  t.true(s.hear(mld1Query({ response: 900 })));
  t.deepEqual(s.take(), [`131 ${long(GROUP6)} ${long(GROUP6)}`]);
  t.deepEqual([...s.leave(GROUP6), ...s.passAll(5)], [`132 ff02::2 ${long(GROUP6)}`]);
  s.join(GROUP6);
  s.passAll(260);
  s.hear(mld2Query({ response: 900 }));
  t.deepEqual(s.take(), [report(IS_EXCLUDE, GROUP6)]);
  s.hear(v3Query({ response: 9 }));
  t.deepEqual(s.take(), [report(IS_EXCLUDE, GROUP)]);
});

test('RFC 3376 7.2.1: what waits is not told when the version changes', (t) => {
  const s = new Scene();
  s.join(GROUP);
  s.hear(v2Query({ response: 10 }));
  t.deepEqual(s.take(), [`16 ${GROUP} ${GROUP}`]);
  t.deepEqual(s.passAll(5), []);
});

test('the querier says how often a change is told', (t) => {
  const s = new Scene();
  s.hear(v3Query({ flags: 4 }));
  s.hear(mld2Query({ flags: 0x0b }));
  t.is([...s.join(GROUP), ...s.passAll(10)].length, 4);
  t.is([...s.join(GROUP6), ...s.passAll(10)].length, 3);
  s.hear(v3Query({ flags: 0 }));
  t.is([...s.join(OTHER), ...s.passAll(10)].filter((one) => one.includes('4:')).length, 2);
});

test('an interface that is down, or not there, is told nothing; once it is up, all', (t) => {
  const s = new Scene();
  const { iface } = s.sender;
  iface.up = false;
  t.deepEqual([...s.join(GROUP), ...s.join(OTHER), ...s.leave(OTHER), ...s.passAll(3)], []);
  iface.up = true;
  t.deepEqual(s.passAll(5), [report(TO_EXCLUDE, GROUP), report(TO_EXCLUDE, GROUP)]);
  s.sender.interfaces[1] = null;
  t.deepEqual(s.passAll(3), []);
  s.sender.interfaces[1] = makeInterface();
  t.deepEqual(s.passAll(5), [report(TO_EXCLUDE, GROUP), report(TO_EXCLUDE, GROUP)]);
  s.sender.interfaces[1] = makeInterface();
  t.is(s.passAll(5).length, 2, 'it has other addresses, or may have');
});

test('without a free slot a report waits for one', (t) => {
  const s = new Scene();
  s.sender.isFull = true;
  t.deepEqual([...s.join(GROUP), ...s.join(GROUP6), ...s.passAll(2)], []);
  s.sender.isFull = false;
  t.deepEqual(s.passAll(5).sort(), [
    report(TO_EXCLUDE, GROUP6),
    report(TO_EXCLUDE, GROUP6),
    report(TO_EXCLUDE, GROUP),
    report(TO_EXCLUDE, GROUP),
  ]);
});

test('many groups are several reports, none longer than the least MTU', (t) => {
  const s = new Scene();
  const groups = Array.from({ length: 130 }, (_, i) => `ff05::1:${(i + 1).toString(16)}`);
  s.settled(...groups);
  s.hear(mld2Query({ response: 900 }));
  const said = s.take();
  t.deepEqual(
    said.map((one) => one.split(' ').length - 2),
    [61, 61, 8],
  );
  t.deepEqual(
    said.flatMap((one) => one.split(' ').slice(2)),
    groups.map((group) => `2:${long(group)}`),
  );
});

for (const [what, frame] of [
  ['a report', v2Report(GROUP)],
  ['an IGMP query with a wrong checksum', changed(v3Query(), 40)],
  ['an IGMP query whose length is that of no version', igmp('224.0.0.1', [0x11, 100, 0, 0, 0, 0, 0, 0, 0, 0])],
  ['an MLD query with a wrong checksum', changed(mld2Query(), 66)],
  ['an MLD query from a routed address', mld2Query({ from: 'fd00::1' })],
  ['another ICMPv6 message', changed(mld2Query(), 62)],
  ['a fragment', igmp('224.0.0.1', [0x11, 100, 0, 0, 0, 0, 0, 0], { fragment: 0x2000 })],
  ['ARP', Uint8Array.from([...new Array(12).fill(2), 8, 6, ...new Array(46).fill(0)])],
] as const) {
  test(`not a query to be answered: ${what}`, (t) => {
    const s = new Scene().settled(GROUP, GROUP6);
    t.false(s.hear(frame));
    t.deepEqual([...s.take(), ...s.passAll(20)], []);
  });
}

function changed(frame: Uint8Array, at: number): Uint8Array {
  const other = frame.slice();
  other[at] ^= 1;
  return other;
}

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/vxlan/membership.test.js');

test('any bytes behind a header are taken without harm', (t) => {
  t.log(rerun);
  const s = new Scene().settled(GROUP, GROUP6);
  fc.assert(
    fc.property(fc.boolean(), fc.uint8Array({ maxLength: 80 }), (isIpv4, body) => {
      s.hear(isIpv4 ? igmp('224.0.0.1', [0x11, ...body]) : changed(mld2Query(), 62 + (body.length % 40)));
      s.passAll(1);
      return s.sender.arena.available === 3;
    }),
    { seed },
  );
  t.pass();
});

test('any history: a router that listens knows exactly the groups that are joined', (t) => {
  t.log(rerun);
  fc.assert(
    fc.property(
      fc.integer(),
      fc.array(fc.record({ group: fc.nat(4), what: fc.constantFrom('join', 'leave', 'pass', 'query') }), {
        maxLength: 60,
      }),
      (randomness, steps) => {
        const s = new Scene(randomness);
        const listeners = new Map<string, number>();
        const members = new Set<string>();
        const listen = (said: readonly string[]): void => {
          for (const one of said)
            for (const record of one.split(' ').slice(2)) {
              const [type, ...group] = record.split(':');
              if (type === '3') members.delete(group.join(':'));
              else members.add(group.join(':'));
            }
        };
        for (const { group: number, what } of steps) {
          const group = number < 2 ? `ff05::${number + 1}` : `239.1.1.${number}`;
          const count = listeners.get(group) ?? 0;
          if (what === 'join') {
            listen(s.join(group));
            listeners.set(group, count + 1);
          } else if (what === 'leave' && count > 0) {
            listen(s.leave(group));
            listeners.set(group, count - 1);
          } else if (what === 'pass') listen(s.passAll(1 + number));
          else if (what === 'query') s.hear(number < 2 ? mld2Query() : v3Query());
          listen(s.take());
          const joined = [...listeners].filter(([, n]) => n > 0).map(([one]) => long(one));
          t.deepEqual([...members].sort(), joined.sort());
        }
        listen(s.passAll(20));
        return true;
      },
    ),
    { numRuns: 200, seed },
  );
});

// --- of a host

/** IGMPv3 that a host sends on the underlay: type, then type and group of the first record. */
function igmpOf(sent: readonly SentFrame[]): string[] {
  const isIgmp = ({ port, frame }: SentFrame): boolean => port === UPLINK_PORT && frame[12] === 8 && frame[23] === 2;
  return sent.filter(isIgmp).map(({ frame }) => {
    expect([...frame.subarray(6, 12)], underlayMac(1), 'MAC');
    return `${frame[38].toString(16)} ${frame[46]}:${text([...frame.subarray(50, 54)])}`;
  });
}

test('a host listens to the group of a VTEP as long as that is there, and answers whoever asks', (t) => {
  const host = new Host(1, { vxlan: { [BLUE]: { open: true } } });
  const joined = igmpOf(host.sentBy(() => host.addVtep(BLUE, groupPort(BLUE), GROUP)));
  t.deepEqual(joined, [`22 ${TO_EXCLUDE}:${GROUP}`]);
  const query = host.receive(UPLINK_PORT, v3Query({ response: 9 }));
  t.deepEqual(igmpOf(query), [`22 ${IS_EXCLUDE}:${GROUP}`]);
  const left = igmpOf(host.sentBy(() => host.topology.removePort(groupPort(BLUE))));
  t.deepEqual(left, [`22 ${TO_INCLUDE}:${GROUP}`]);
  expectWhole(t, host);
});
