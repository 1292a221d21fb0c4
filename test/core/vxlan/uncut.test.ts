/** Super-packets that go into a tunnel as they are, by an uplink with an outlet: what is written before them, and when they must not. */

import test, { type ExecutionContext } from 'ava';
import { createRandom, rerunLine, seedOfRun } from '../../support/corpus.js';
import { type SentFrame, tagged } from '../../support/harness.js';
import { filler, ipOf, read } from '../nat/wire.js';
import { CE, CODEPOINTS, ECT0 } from './support/ecn.js';
import {
  datagram,
  type Family,
  type Loaded,
  type SegmentFields,
  segment,
  superDatagram,
  superSegment,
  trafficClassOf,
  unfinished,
  withExtension,
  withOptions,
  withTag,
  withTrafficClass,
} from './support/inner.js';
import {
  BLUE,
  type Carriage,
  container,
  delivered,
  expectWhole,
  groupPort,
  Host,
  type HostOptions,
  loadedFrames,
  Overlay,
  outersOf,
  UPLINK_NETWORK,
  UPLINK_PORT,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { readOuter } from './support/outer.js';
import { TUNNEL_HEADER } from './support/tunnel-nic.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const PORT = vtepPort(BLUE, 2);
const FAMILIES: readonly Family[] = [4, 6];
const REMOTE: Readonly<Record<Family, string>> = { 4: '10.77.0.2', 6: 'fd77::2' };
/** Bytes of the outer headers. */
const AROUND: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };
/** So many bytes of a frame are the most that leave in one piece. */
const LONGEST = 65_535;

/** Knows where THERE is, by an uplink with an outlet. */
function host(options: HostOptions = {}, knows = true): Host {
  const one = new Host(1, options);
  if (knows) one.know(2);
  one.addVtep(BLUE, PORT, REMOTE[one.family]);
  one.topology.addStatic(BLUE, 0, 0x0200, 0x0201, PORT);
  one.topology.setOutlet(UPLINK_PORT, true);
  return one;
}

/** Two hosts that know where both containers are. */
function overlay(carriage: Carriage, options: HostOptions): Overlay {
  const one = new Overlay(2, options, carriage);
  one.send(1, 1, datagram(HERE, THERE));
  one.send(2, 1, datagram(THERE, HERE));
  return one;
}

const isUncut = ({ vnet }: SentFrame): boolean => vnet.length === TUNNEL_HEADER;
const byUplink = (sent: readonly SentFrame[]): SentFrame[] => sent.filter(({ port }) => port === UPLINK_PORT);

/** What a container sends leaves by the uplink as bundles or single packets, and is the same segments. */
function expectCut(
  t: ExecutionContext,
  one: Host,
  sent: readonly SentFrame[],
  expected: readonly Uint8Array[],
  what: string,
): void {
  t.deepEqual(byUplink(sent).filter(isUncut), [], what);
  t.deepEqual(
    outersOf(sent).map(({ inner }) => inner),
    expected,
    what,
  );
  expectWhole(t, one, what);
}

/** It leaves as one packet, which the kernel cuts into the same segments. */
function expectUncut(
  t: ExecutionContext,
  one: Host,
  sent: readonly SentFrame[],
  expected: readonly Uint8Array[],
  what: string,
): void {
  t.deepEqual(byUplink(sent).map(isUncut), [true], what);
  t.deepEqual(
    outersOf(sent).map(({ inner }) => inner),
    expected,
    what,
  );
  expectWhole(t, one, what);
}

/** The header's numbers, little endian. */
function numbersOf(vnet: Uint8Array): Record<string, number> {
  const word = (at: number): number => vnet[at] + vnet[at + 1] * 256;
  return {
    flags: vnet[0],
    type: vnet[1],
    headers: word(2),
    size: word(4),
    start: word(6),
    offset: word(8),
    outerL4: word(20),
    innerL3: word(22),
  };
}

// --- the header

for (const family of FAMILIES) {
  for (const checksum of [false, true]) {
    test(`over IPv${family}, ${checksum ? 'with' : 'without'} checksums: the header counts from the outer frame`, (t) => {
      const around = AROUND[family];
      const tunnel = family === 4 ? 0x20 : 0x40;
      const outerL4 = family === 4 ? 34 : 54;
      const one = host({ family, vxlan: { [BLUE]: { checksum } } });
      for (const [inner, type, innerL4, headers, offset] of [
        [superSegment(HERE, THERE, 9000, 1300), 1, 34, 54, 16],
        [superSegment(HERE, THERE, 9000, 1300, { family: 6 }), 4, 54, 74, 16],
        [superDatagram(HERE, THERE, 9000, 1300), 5, 34, 42, 6],
        [superDatagram(HERE, THERE, 9000, 1300, 6), 5, 54, 62, 6],
        [unfinished(segment(HERE, THERE, { data: filler(9000) }), 1300, true), 0x81, 34, 54, 16],
      ] as const) {
        const sent = byUplink(one.receive(1, inner.frame, inner.vnet));
        t.is(sent.length, 1);
        t.is(sent[0].frame.length, inner.frame.length + around);
        t.deepEqual(sent[0].frame.subarray(around), inner.frame);
        t.deepEqual(numbersOf(sent[0].vnet), {
          flags: checksum ? 9 : 1,
          type: type + tunnel,
          headers: headers + around,
          size: 1300,
          start: innerL4 + around,
          offset,
          outerL4,
          innerL3: around + 14,
        });
        t.deepEqual([...sent[0].vnet.subarray(10, 20)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        t.is(wireFrames(sent[0]).length, 7);
        for (const bytes of wireFrames(sent[0])) t.is(readOuter(bytes).checksum, checksum ? 'right' : 'zero');
      }
      expectWhole(t, one);
    });
  }

  test(`over IPv${family}: a sender that does not say how long its headers are is believed`, (t) => {
    const one = host({ family });
    const { frame, vnet } = superSegment(HERE, THERE, 9000, 1300);
    const sent = one.receive(1, frame, { ...vnet, headerLength: 0 });
    t.is(numbersOf(sent[0].vnet).headers, AROUND[family]);
    expectUncut(t, one, sent, loadedFrames({ frame, vnet }), 'no length');
  });
}

test('the outer source port is that of the flow, whether it is cut here or behind us', (t) => {
  const one = host({ vxlan: { [BLUE]: { checksum: true } } });
  for (const port of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const { frame, vnet } = superSegment(HERE, THERE, 5000, 1300, { port });
    const ports = [true, false].map((outlet) => {
      one.topology.setOutlet(UPLINK_PORT, outlet);
      return outersOf(one.receive(1, frame, vnet)).map(({ sourcePort }) => sourcePort);
    });
    t.deepEqual(ports[0], ports[1]);
  }
});

test('one packet for the counters, at each door', (t) => {
  const one = host();
  const { frame, vnet } = superSegment(HERE, THERE, 20_000, 1350);
  t.deepEqual(
    one.changes(() => one.receive(1, frame, vnet)),
    { 1: { rx: 1 }, [PORT]: { tx: 1, originated: 1 }, [UPLINK_PORT]: { tx: 1 } },
  );
});

// --- what is inside

for (const inside of FAMILIES) {
  for (const carriage of ['uncut', 'uncut-wire'] as const) {
    const arrivesSame = (t: ExecutionContext, one: Overlay, sent: Loaded, what: string): void => {
      const arrivals = one.send(1, 1, sent.frame, sent.vnet);
      t.deepEqual(one.carried.map(isUncut), [true], what);
      t.deepEqual(arrivals.flatMap(wireFrames), loadedFrames(sent), what);
      expectWhole(t, one, what);
    };

    test(`IPv${inside} with options or extension headers, ${carriage}: they are in every segment`, (t) => {
      for (const family of FAMILIES) {
        for (const checksum of [false, true]) {
          const one = overlay(carriage, { family, vxlan: { [BLUE]: { checksum } } });
          const more = inside === 4 ? withOptions : withExtension;
          for (const sent of [
            superSegment(HERE, THERE, 20_000, 1300, { family: inside }),
            superDatagram(HERE, THERE, 20_000, 1300, inside),
          ]) {
            arrivesSame(t, one, more(sent), `over IPv${family}`);
            arrivesSame(t, one, more(more(sent)), `over IPv${family}, twice`);
          }
        }
      }
    });

    test(`IPv${inside}, ${carriage}: ECN goes outside, and comes back; CWR is on the first segment`, (t) => {
      for (const family of FAMILIES) {
        const one = overlay(carriage, { family });
        for (const codepoint of CODEPOINTS) {
          const whole = withTrafficClass(
            segment(HERE, THERE, { family: inside, flags: 'PFA', data: filler(9000) }),
            codepoint,
          );
          whole[14 + (inside === 4 ? 20 : 40) + 13] |= 0x80;
          const sent = unfinished(whole, 1300, true);
          arrivesSame(t, one, sent, `${codepoint}`);
          for (const { trafficClass } of one.outers) t.is(trafficClass, codepoint);
        }
      }
    });
  }

  test(`IPv${inside}: cut, and marked on the way, each segment says so`, (t) => {
    const sender = host();
    const receiver = overlay('uncut-wire', {}).host(2);
    const whole = withTrafficClass(segment(HERE, THERE, { family: inside, data: filler(9000) }), ECT0);
    const sent = unfinished(whole, 1300);
    const frames = byUplink(sender.receive(1, sent.frame, sent.vnet)).flatMap((one) => wireFrames(one));
    t.is(frames.length, 7);
    for (const frame of frames) {
      const got = delivered(receiver.receive(UPLINK_PORT, withTrafficClass(frame, CE))).flatMap(wireFrames);
      t.deepEqual(got.map(trafficClassOf), [CE]);
    }
  });
}

test('too large for the tunnel: TCP in smaller segments, and whoever sends datagrams is told', (t) => {
  for (const family of FAMILIES) {
    for (const inside of FAMILIES) {
      for (const mtu of [1500, 1400, 1280]) {
        const room = mtu - AROUND[family] - (inside === 4 ? 40 : 60);
        const one = host({ family, mtu });
        for (const size of [room - 1, room, room + 1, 1460, 9000]) {
          const what = `IPv${inside} over IPv${family}, ${mtu}, ${size}`;
          const sent = superSegment(HERE, THERE, 30_000, size, { family: inside });
          const fitting = superSegment(HERE, THERE, 30_000, Math.min(size, room), { family: inside });
          expectUncut(t, one, one.receive(1, sent.frame, sent.vnet), loadedFrames(fitting), what);
        }
        const most = room + 12;
        const fits = superDatagram(HERE, THERE, 9000, most, inside);
        expectUncut(t, one, one.receive(1, fits.frame, fits.vnet), loadedFrames(fits), `datagrams of ${most}`);
        const { frame, vnet } = superDatagram(HERE, THERE, 9000, most + 1, inside);
        if (inside === 4) frame[20] |= 0x40;
        const answers = one.receive(1, frame, vnet);
        t.deepEqual(
          answers.map(({ port }) => port),
          [1],
          `datagrams of ${most + 1}`,
        );
        const told = read(ipOf(answers[0].frame));
        t.is(`${told.type}/${told.code}`, inside === 4 ? '3/4' : '2/0');
        t.is(one.txDrops(PORT).too_big, 1);
        expectWhole(t, one);
      }
    }
  }
});

test('smaller segments are one: it leaves as the plain packet that it is', (t) => {
  const one = host();
  const small = superSegment(HERE, THERE, 100, 1400);
  expectCut(t, one, one.receive(1, small.frame, small.vnet), loadedFrames(small), 'one segment');
  const two = superSegment(HERE, THERE, 1411, 1460);
  const cut = superSegment(HERE, THERE, 1411, 1410);
  expectUncut(t, one, one.receive(1, two.frame, two.vnet), loadedFrames(cut), 'one, too large: two');
});

test('a network with VLANs: the tag stays inside, in every segment', (t) => {
  for (const family of FAMILIES) {
    for (const checksum of [false, true]) {
      const networks = { [BLUE]: { vlanProtocol: 0x8100 } };
      const one = new Host(1, { family, networks, gateway: false, vxlan: { [BLUE]: { checksum } } });
      one.know(2);
      one.topology.addVlan(BLUE, 10, 1010);
      one.topology.removePort(1);
      one.topology.addPort(1, BLUE, { vlan: { native: 10, tagged: [] } });
      one.topology.addPort(PORT, BLUE, {
        vtep: { address: wordsOf(REMOTE[family]), floods: true, learning: true },
        vlan: { native: 0, tagged: [10] },
      });
      one.topology.setOutlet(UPLINK_PORT, true);
      for (const sent of [
        superSegment(HERE, THERE, 9000, 1300),
        superSegment(HERE, THERE, 9000, 1300, { family: 6 }),
        superDatagram(HERE, THERE, 9000, 1300),
      ]) {
        const left = one.receive(1, sent.frame, sent.vnet);
        t.is(numbersOf(byUplink(left)[0].vnet).innerL3, AROUND[family] + 18);
        expectUncut(
          t,
          one,
          left,
          loadedFrames(sent).map((bytes) => tagged(bytes, 10)),
          'tagged',
        );
      }
    }
  }
});

test('a tag that means nothing in its network is not sent on', (t) => {
  const one = host();
  const sent = superSegment(HERE, THERE, 9000, 1300);
  const { frame, vnet } = withTag(sent, 5);
  expectUncut(t, one, one.receive(1, frame, vnet), loadedFrames(sent), 'tagged');
});

test('to a group, and to several VTEPs: each gets it uncut, and containers here as it was', (t) => {
  for (const deferred of [false, true]) {
    const one = host({ deferred, slots: 64, vxlan: { [BLUE]: { checksum: true } } });
    one.know(3);
    one.addVtep(BLUE, vtepPort(BLUE, 3), '10.77.0.3');
    one.addVtep(BLUE, groupPort(BLUE), '239.1.1.1', { learning: false });
    const sent = superSegment(HERE, { ...THERE, mac: [2, 0, 0, 0, 9, 9] }, 9000, 1300);
    const left = one.receive(1, sent.frame, sent.vnet);
    // Membership reports leave as well.
    const outers = byUplink(left).filter(isUncut);
    t.deepEqual(outers.map((each) => readOuter(wireFrames(each)[0]).to).sort(), [
      '10.77.0.2',
      '10.77.0.3',
      '239.1.1.1',
    ]);
    for (const each of outers) {
      t.deepEqual(
        outersOf([each]).map(({ inner }) => inner),
        loadedFrames(sent),
      );
    }
    t.is(outersOf(left).length, 3 * loadedFrames(sent).length);
    const here = delivered(left).filter(({ port }) => port <= 3);
    t.is(here.length, 2);
    for (const each of here) t.deepEqual(loadedFrames(sent), wireFrames(each));
    expectWhole(t, one);
  }
});

// --- when it must not

test('an uplink without an outlet, or with one no more, gets bundles', (t) => {
  const one = host({ vxlan: { [BLUE]: { checksum: true } } });
  const sent = superSegment(HERE, THERE, 20_000, 1390);
  const expected = loadedFrames(sent);
  expectUncut(t, one, one.receive(1, sent.frame, sent.vnet), expected, 'with');
  one.topology.setOutlet(UPLINK_PORT, false);
  expectCut(t, one, one.receive(1, sent.frame, sent.vnet), expected, 'no more');
  one.topology.setOutlet(UPLINK_PORT, true);
  expectUncut(t, one, one.receive(1, sent.frame, sent.vnet), expected, 'again');
  // The port's next owner has none.
  one.topology.removePort(UPLINK_PORT);
  one.topology.addPort(UPLINK_PORT, UPLINK_NETWORK, { routed: true });
  t.false(one.dataplane.ports[UPLINK_PORT].outlet);
});

test('what leaves by the uplink is mirrored: whoever gets the copies could not cut them', (t) => {
  for (const [fromPort, fromNetwork] of [
    [UPLINK_PORT, 0],
    [0, UPLINK_NETWORK],
  ]) {
    const one = host({ slots: 64 });
    const sent = superSegment(HERE, THERE, 20_000, 1390);
    const expected = loadedFrames(sent);
    one.topology.addMirror({ id: 1, fromPort, fromNetwork, to: 6, incoming: false, outgoing: true });
    const left = one.receive(1, sent.frame, sent.vnet);
    expectCut(t, one, left, expected, 'mirrored');
    const copies = left.filter(({ port }) => port === 6);
    t.deepEqual(
      copies.flatMap(wireFrames).map((bytes) => readOuter(bytes).inner),
      expected,
    );
    one.topology.removeMirror(1);
    expectUncut(t, one, one.receive(1, sent.frame, sent.vnet), expected, 'mirrored no more');
    one.topology.addMirror({ id: 2, fromPort, fromNetwork, to: 6, incoming: true, outgoing: false });
    expectUncut(t, one, one.receive(1, sent.frame, sent.vnet), expected, 'only what comes in is mirrored');
  }
});

test('65,535 bytes in one piece are the most', (t) => {
  for (const family of FAMILIES) {
    for (const inside of FAMILIES) {
      const room = LONGEST - AROUND[family] - (inside === 4 ? 54 : 74);
      for (const length of [room - 1, room, room + 1]) {
        const one = host({ family, slots: 64, vxlan: { [BLUE]: { checksum: true } } });
        const sent = superSegment(HERE, THERE, length, 1300, { family: inside });
        const left = one.receive(1, sent.frame, sent.vnet);
        const expect = length <= room ? expectUncut : expectCut;
        expect(t, one, left, loadedFrames(sent), `IPv${inside} over IPv${family}: ${length}`);
      }
    }
  }
});

test('a finished checksum, which nobody could finish anew: cut here', (t) => {
  for (const inside of FAMILIES) {
    const one = host({ slots: 64 });
    const frame = segment(HERE, THERE, { family: inside, data: filler(9000) });
    const sent = unfinished(frame, 1300);
    const left = one.receive(1, frame, { ...sent.vnet, flags: 0, checksumStart: 0, checksumOffset: 0 });
    expectCut(t, one, left, loadedFrames(sent), `IPv${inside}`);
  }
});

test('bytes behind the IP packet: cut here, where they are left out', (t) => {
  for (const inside of FAMILIES) {
    for (const behind of [1, 4, 40]) {
      const one = host({ slots: 64 });
      const sent = superSegment(HERE, THERE, 9000, 1300, { family: inside });
      const frame = Uint8Array.from([...sent.frame, ...filler(behind)]);
      expectCut(t, one, one.receive(1, frame, sent.vnet), loadedFrames(sent), `IPv${inside}, ${behind}`);
    }
  }
});

test('more datagrams than the kernel takes in one: cut here', (t) => {
  for (const checksum of [false, true]) {
    const one = host({ slots: 256, vxlan: { [BLUE]: { checksum } } });
    const most = superDatagram(HERE, THERE, 128 * 20, 20);
    expectUncut(t, one, one.receive(1, most.frame, most.vnet), loadedFrames(most), '128');
    const { frame, vnet } = superDatagram(HERE, THERE, 129 * 20, 20);
    const left = one.receive(1, frame, vnet);
    t.false(byUplink(left).some(isUncut));
    const data = outersOf(left).map(({ inner }) => inner.length - 42);
    t.deepEqual(data, new Array(129).fill(20));
    expectWhole(t, one);
  }
});

test('a slot that a mirror inside holds as well is copied first: its frame stays as it was', (t) => {
  for (const fromPort of [1, PORT]) {
    for (const deferred of [false, true]) {
      const one = host({ deferred });
      const isIn = fromPort === 1;
      one.topology.addMirror({ id: 1, fromPort, fromNetwork: 0, to: 6, incoming: isIn, outgoing: !isIn });
      const sent = superSegment(HERE, THERE, 9000, 1300);
      const left = one.receive(1, sent.frame, sent.vnet);
      const copies = left.filter(({ port }) => port === 6);
      t.deepEqual(
        copies.map(({ frame }) => frame),
        [sent.frame],
      );
      t.deepEqual(copies.flatMap(wireFrames), loadedFrames(sent));
      if (deferred) t.not(copies[0].slot, byUplink(left)[0].slot);
      expectUncut(t, one, left, loadedFrames(sent), `mirror of ${fromPort}`);
    }
  }
});

test('a shared slot, and none for a copy: lost, counted, and nothing else', (t) => {
  const one = host({ deferred: true, slots: 1 });
  one.topology.addMirror({ id: 1, fromPort: 1, fromNetwork: 0, to: 6, incoming: true, outgoing: false });
  const sent = superSegment(HERE, THERE, 9000, 1300);
  const left = one.receive(1, sent.frame, sent.vnet);
  t.deepEqual(
    left.map(({ port }) => port),
    [6],
  );
  t.is(one.txDrops(PORT).no_slot, 1);
  expectWhole(t, one);
});

// --- waiting for the next hop

test('it waits for the next hop as any packet', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family }, false);
    const sent = superSegment(HERE, THERE, 9000, 1300);
    t.deepEqual(outersOf(one.receive(1, sent.frame, sent.vnet)), []);
    t.is(one.held, 1);
    expectWhole(t, one);
    expectUncut(
      t,
      one,
      one.sentBy(() => one.know(2)),
      loadedFrames(sent),
      `over IPv${family}`,
    );
    t.is(one.held, 0);
    t.deepEqual(one.dropped(), {});
  }
});

test('the outlet goes, or is of no use any more, while it waits: dropped and counted', (t) => {
  for (const change of [
    (one: Host) => one.topology.setOutlet(UPLINK_PORT, false),
    (one: Host) =>
      one.topology.addMirror({ id: 1, fromPort: UPLINK_PORT, fromNetwork: 0, to: 6, incoming: false, outgoing: true }),
  ]) {
    const one = host({}, false);
    const sent = superSegment(HERE, THERE, 9000, 1300);
    one.receive(1, sent.frame, sent.vnet);
    one.receive(1, datagram(HERE, THERE));
    t.is(one.held, 2);
    change(one);
    const left = one.sentBy(() => one.know(2));
    t.deepEqual(
      outersOf(left).map(({ inner }) => inner),
      [datagram(HERE, THERE)],
      'what is in one packet goes its way',
    );
    t.deepEqual(one.dropped(), { tx_rejected: 1 });
    t.is(one.rxDrops(PORT).tx_rejected, 1);
    t.is(one.held, 0);
    expectWhole(t, one);
    expectCut(t, one, one.receive(1, sent.frame, sent.vnet), loadedFrames(sent), 'the next is cut here');
  }
});

// --- the same as if it had been cut here

test('random super-packets: cut behind us they are what is cut here, packet by packet', (t) => {
  const seed = seedOfRun();
  const random = createRandom(seed);
  const rerun = rerunLine(seed, 'dist/test/core/vxlan/uncut.test.js');
  const pick = <T>(...all: readonly T[]): T => all[random(all.length)];
  const hosts = new Map<string, Host>();
  let uncut = 0;
  for (let round = 0; round < 300; round++) {
    const family = pick(...FAMILIES);
    const inside = pick(...FAMILIES);
    const mtu = pick(1280, 1400, 1500, 9000);
    const one = hosts.get(`${family} ${mtu}`) ?? host({ family, mtu, slots: 256 });
    hosts.set(`${family} ${mtu}`, one);
    one.setLocal(BLUE, { checksum: pick(false, true), dscp: pick(-1, 0, 46) });
    const sent = randomSuper(random, inside);
    const [whole, cut] = [true, false].map((outlet) => {
      one.topology.setOutlet(UPLINK_PORT, outlet);
      return one.receive(1, sent.frame, sent.vnet);
    });
    uncut += byUplink(whole).filter(isUncut).length;
    const what = `round ${round}; ${rerun}`;
    // What outer packets are numbered means nothing, with DF set: bundles begin anew.
    const seen = (left: readonly SentFrame[]) => outersOf(left).map((outer) => ({ ...outer, identification: 0 }));
    const same = JSON.stringify(seen(whole)) === JSON.stringify(seen(cut));
    if (!same) t.deepEqual(seen(whole), seen(cut), what);
    t.is(delivered(whole).length, delivered(cut).length, what);
    expectWhole(t, one, what);
  }
  t.true(uncut > 100, `${uncut} left in one piece`);
});

function randomSuper(random: (below: number) => number, inside: Family): Loaded {
  const length = 1 + random(random(3) === 0 ? 60_000 : 8000);
  const size = 100 + random(1400);
  if (random(3) === 0) return superDatagram(HERE, THERE, Math.min(length, 128 * size), size, inside);
  const options = [[], [1, 1, 8, 10, 0, 0, 0x12, 0x34, 0, 0, 0x56, 0x78]][random(2)];
  const fields: SegmentFields = {
    family: inside,
    options,
    sequence: 0xffffffff - random(100_000),
    flags: ['A', 'PA', 'PFA'][random(3)],
  };
  const bytes = withTrafficClass(segment(HERE, THERE, { ...fields, data: filler(length) }), random(256));
  const sent = unfinished(bytes, size, random(2) === 0);
  if (random(3) > 0) return sent;
  return inside === 4 ? withOptions(sent) : withExtension(sent);
}
