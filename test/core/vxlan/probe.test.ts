/** Probes between hosts: what gets through, what is lost, what is damaged; and what others may make of them. */

import test from 'ava';
import { vlan } from '../wire/build.js';
import {
  BLUE,
  type Carriage,
  expectWhole,
  groupPort,
  Host,
  type HostOptions,
  hostMac,
  Overlay,
  outersOf,
  UPLINK_PORT,
  vtepPort,
} from './support/lab.js';
import { outer, pseudoHeader, sumOf } from './support/outer.js';

const PROBE_MAC = [0x02, 0x54, 0x4c, 0x50, 0x72, 0x62];
const PENDING = 0;
const ANSWERED = 1;
const DAMAGED = 2;

const proberOf = (host: Host) => host.dataplane.vxlan.prober;

/** Host 1 probes, and whatever follows of it happens. */
function probe(overlay: Overlay, ports: readonly number[] = [vtepPort(BLUE, 2)]): void {
  overlay.run(1, () => proberOf(overlay.host(1)).send(ports));
}

/** Outcomes by kind, of the only port that was sent to, or of one of several. */
function outcomes(overlay: Overlay, at = 0): number[] {
  const list = proberOf(overlay.host(1)).list();
  return [list[7 * at + 1], list[7 * at + 3], list[7 * at + 5]];
}

/** Inner frames that went from a host to others, as on the wire. */
function innersFrom(overlay: Overlay, host: number): Uint8Array[] {
  return outersOf(overlay.carried.filter(({ from }) => from === host)).map(({ inner }) => inner);
}

const protocolOf = (inner: Uint8Array): number => inner[23];
/** Where the inner frame begins in an outer one over IPv4. */
const INNER = 50;

for (const [what, options, size] of [
  ['over IPv4', {}, 1450],
  ['over IPv6', { family: 6 }, 1430],
  ['over 9000 bytes', { mtu: 9000 }, 8950],
] as [string, HostOptions, number][]) {
  for (const carriage of ['whole', 'wire'] as Carriage[]) {
    test(`all kinds get through, and nobody else has anything of it: ${what}, ${carriage}`, (t) => {
      const overlay = new Overlay(2, options, carriage);
      t.deepEqual(
        overlay.run(1, () => proberOf(overlay.host(1)).send([vtepPort(BLUE, 2)])),
        [],
        'no container',
      );
      t.deepEqual([...proberOf(overlay.host(1)).list()], [vtepPort(BLUE, 2), ANSWERED, 0, ANSWERED, 0, ANSWERED, 0]);
      for (const host of [1, 2]) {
        const inners = innersFrom(overlay, host);
        t.deepEqual(
          inners.map((inner) => [protocolOf(inner), inner.length]),
          [
            [17, 142],
            [6, 142],
            [17, size + 14],
          ],
        );
        for (const inner of inners) {
          t.deepEqual([...inner.subarray(0, 14)], [...PROBE_MAC, ...hostMac(host), 8, 0]);
          t.is(inner[20], 0x40, 'may not be fragmented');
          t.is(sumOf(inner.subarray(14, 34)), 0xffff);
          const transport = inner.subarray(34);
          const pseudo = pseudoHeader(
            inner.subarray(26, 30),
            inner.subarray(30, 34),
            protocolOf(inner),
            transport.length,
          );
          t.is(sumOf([...pseudo, ...transport]), 0xffff);
        }
      }
      expectWhole(t, overlay);
      t.deepEqual(overlay.host(2).dropped(), {});
    });
  }
}

test('hosts are not learned by their probes', (t) => {
  const overlay = new Overlay(2);
  probe(overlay);
  for (const host of overlay.hosts) {
    const macs: number[] = [];
    host.dataplane.fdb.forEach((_fid, high) => {
      macs.push(high);
    }, 0);
    t.true(macs.length > 0, 'the gateways');
    t.false(macs.includes(0x0248));
  }
});

test('the time between question and answer', (t) => {
  const overlay = new Overlay(2);
  overlay.loses = ({ from }) => {
    if (from === 2) overlay.host(1).dataplane.milliseconds += 5;
    return false;
  };
  overlay.host(1).dataplane.milliseconds = 0x7ffffffe;
  probe(overlay);
  const list = proberOf(overlay.host(1)).list();
  // All answers leave host 2 before the first arrives.
  t.deepEqual([list[2], list[4], list[6]], [15_000, 15_000, 15_000]);
});

test('what is lost has no answer: full-size packets on a wire that takes less than it says', (t) => {
  const overlay = new Overlay(2);
  overlay.loses = ({ frame }) => frame.length > 1400;
  probe(overlay);
  t.deepEqual(outcomes(overlay), [ANSWERED, ANSWERED, PENDING]);
  overlay.loses = ({ from }) => from === 2;
  probe(overlay);
  t.deepEqual(outcomes(overlay), [PENDING, PENDING, PENDING]);
});

for (const [whose, from] of [
  ['the question', 1],
  ['the answer', 2],
] as const) {
  test(`damage on the way of ${whose} shows: by the checksum of TCP`, (t) => {
    const overlay = new Overlay(2);
    overlay.loses = ({ from: sender, frame }) => {
      if (sender === from && protocolOf(frame.subarray(INNER)) === 6) frame[INNER + 50] ^= 0x10;
      return false;
    };
    probe(overlay);
    t.deepEqual(outcomes(overlay), [ANSWERED, DAMAGED, ANSWERED]);
    expectWhole(t, overlay);
  });

  test(`damage on the way of ${whose} shows: where the checksum has been made right again`, (t) => {
    const overlay = new Overlay(2);
    overlay.loses = ({ from: sender, frame }) => {
      // Two words of the pattern trade places, which no sum sees.
      if (sender === from && frame.length > 1400) frame.copyWithin(INNER + 100, INNER + 104, INNER + 106);
      if (sender === from && frame.length > 1400) {
        const swapped = frame.subarray(INNER + 100, INNER + 104).slice();
        frame.set([...swapped.subarray(2), ...swapped.subarray(0, 2)], INNER + 100);
      }
      return false;
    };
    probe(overlay);
    t.deepEqual(outcomes(overlay), [ANSWERED, ANSWERED, DAMAGED]);
  });

  test(`damage on the way of ${whose} shows: by the header's checksum, and by one that is missing`, (t) => {
    const overlay = new Overlay(2);
    overlay.loses = ({ from: sender, frame }) => {
      const inner = frame.subarray(INNER);
      if (sender !== from) return false;
      if (protocolOf(inner) === 6) inner[22] ^= 1;
      else if (inner.length < 1000) inner.fill(0, 40, 42);
      return false;
    };
    probe(overlay);
    t.deepEqual(outcomes(overlay), [DAMAGED, DAMAGED, ANSWERED]);
  });
}

test('several VTEPs are told apart, and what was sent before is forgotten', (t) => {
  const overlay = new Overlay(3);
  overlay.loses = ({ from }) => from === 3;
  probe(overlay, [vtepPort(BLUE, 2), vtepPort(BLUE, 3)]);
  const list = proberOf(overlay.host(1)).list();
  t.deepEqual([list[0], list[7], list.length], [vtepPort(BLUE, 2), vtepPort(BLUE, 3), 14]);
  t.deepEqual([outcomes(overlay, 0), outcomes(overlay, 1)], [new Array(3).fill(ANSWERED), new Array(3).fill(PENDING)]);
  probe(overlay, [vtepPort(BLUE, 3)]);
  t.deepEqual([...proberOf(overlay.host(1)).list()], [vtepPort(BLUE, 3), 0, 0, 0, 0, 0, 0]);
  proberOf(overlay.host(1)).send([]);
  t.is(proberOf(overlay.host(1)).list().length, 0);
});

test('a port that stands for no VTEP is refused, and nothing is sent', (t) => {
  const overlay = new Overlay(2);
  for (const port of [1, 0, -1, 5000, 100_000]) {
    const sent = overlay.host(1).sentBy(() => {
      t.throws(() => proberOf(overlay.host(1)).send([vtepPort(BLUE, 2), port]), {
        instanceOf: RangeError,
        message: `port number ${port} stands for no VTEP`,
      });
    });
    t.deepEqual(sent, []);
  }
});

test('without a free slot a probe stays without an answer', (t) => {
  const overlay = new Overlay(2);
  const { arena } = overlay.host(1);
  const taken: number[] = [];
  for (let slot = arena.allocate(); slot >= 0; slot = arena.allocate()) taken.push(slot);
  probe(overlay);
  for (const slot of taken) arena.release(slot);
  t.deepEqual(outcomes(overlay), [PENDING, PENDING, PENDING]);
  expectWhole(t, overlay);
});

/** A host that was asked once, the inner frames of the questions, and what it answers to an inner frame from host 1. */
function asked(): { host: Host; questions: Uint8Array[]; answers: Uint8Array[]; ask: (inner: Uint8Array) => number } {
  const overlay = new Overlay(2);
  probe(overlay);
  const host = overlay.host(2);
  const ask = (inner: Uint8Array): number =>
    outersOf(host.receive(UPLINK_PORT, outer(host.outerFrom(1), inner))).length;
  return { host, questions: innersFrom(overlay, 1), answers: innersFrom(overlay, 2), ask };
}

test('answers are not answered, and those that nobody waits for change nothing', (t) => {
  const { host, answers, ask } = asked();
  t.is(answers.length, 3);
  for (const answer of answers) t.is(ask(answer), 0);
  t.deepEqual([...proberOf(host).list()], []);
  t.deepEqual(host.dropped(), {});
});

test('an answer of another round does not count, nor does a second one', (t) => {
  const overlay = new Overlay(2);
  probe(overlay);
  const old = innersFrom(overlay, 2);
  overlay.loses = ({ from }) => from === 2;
  probe(overlay);
  const fresh = innersFrom(overlay, 2);
  const host = overlay.host(1);
  const hear = (inner: Uint8Array): void => {
    host.receive(UPLINK_PORT, outer(host.outerFrom(2), inner));
  };
  old.forEach(hear);
  t.deepEqual(outcomes(overlay), [PENDING, PENDING, PENDING]);
  fresh.forEach(hear);
  t.deepEqual(outcomes(overlay), [ANSWERED, ANSWERED, ANSWERED]);
  const damaged = fresh[0].slice();
  damaged[100] ^= 1;
  hear(damaged);
  t.deepEqual(outcomes(overlay), [ANSWERED, ANSWERED, ANSWERED]);
});

test('an answer through another VTEP than was asked does not count', (t) => {
  const overlay = new Overlay(3);
  overlay.loses = ({ from }) => from === 2;
  probe(overlay);
  const host = overlay.host(1);
  for (const inner of innersFrom(overlay, 2)) host.receive(UPLINK_PORT, outer(host.outerFrom(3), inner));
  t.deepEqual(outcomes(overlay), [PENDING, PENDING, PENDING]);
});

test('answers are limited: some at once, a hundred a second', (t) => {
  const { host, questions, ask } = asked();
  const askMany = (): number => {
    let answers = 0;
    for (let i = 0; i < 500; i++) answers += ask(questions[i % 3]);
    return answers;
  };
  const atOnce = askMany();
  t.true(atOnce > 10 && atOnce <= 30, `${atOnce}`);
  let later = 0;
  for (let i = 0; i < 10; i++) {
    host.dataplane.milliseconds += 100;
    later += askMany();
  }
  t.true(later > 50 && later <= 130, `${later} in a second`);
  t.deepEqual(host.dropped(), {});
});

for (const [what, change] of [
  ['of another EtherType', (inner: Uint8Array) => inner.set([0x88, 0xb5], 12)],
  ['of IPv6', (inner: Uint8Array) => inner.set([0x86, 0xdd, 0x60], 12)],
  ['of another magic', (inner: Uint8Array) => inner.set([1], 42)],
  ['of a kind that is not there', (inner: Uint8Array) => inner.set([3], 46)],
  ['of a kind that is not UDP', (inner: Uint8Array) => inner.set([1], 46)],
  ['of a direction that is not there', (inner: Uint8Array) => inner.set([2], 47)],
  ['to another port', (inner: Uint8Array) => inner.set([0, 53], 36)],
  ['of another protocol', (inner: Uint8Array) => inner.set([132], 23)],
  ['a fragment', (inner: Uint8Array) => inner.set([0x20, 0], 20)],
  ['with options', (inner: Uint8Array) => inner.set([0x46], 14)],
  ['whose length runs out of the frame', (inner: Uint8Array) => inner.set([2, 0], 16)],
] as [string, (inner: Uint8Array) => void][]) {
  test(`no probe, and dropped: ${what}`, (t) => {
    const { host, questions, ask } = asked();
    const inner = questions[0].slice();
    change(inner);
    t.is(ask(inner), 0);
    t.deepEqual(host.dropped(), { not_listening: 1 });
    expectWhole(t, host);
  });
}

test('a probe of any length is answered or dropped, and nothing behind it is read', (t) => {
  const { host, questions, ask } = asked();
  let answered = 0;
  for (let length = 14; length < questions[0].length; length++) {
    host.dataplane.milliseconds += 1000;
    const inner = questions[0].slice(0, length);
    if (length >= 18) inner.set([(length - 14) >> 8, (length - 14) & 255], 16);
    if (length >= 40) inner.set([(length - 34) >> 8, (length - 34) & 255], 38);
    answered += ask(inner);
  }
  // From where there is room for all that a probe says: damaged, since it says that it is longer.
  t.is(answered, questions[0].length - 14 - 20 - 8 - 16);
  expectWhole(t, host);
});

test('a group of VTEPs: the first answer counts', (t) => {
  const overlay = new Overlay(3, { vxlan: { [BLUE]: { open: true } } });
  overlay.host(1).addVtep(BLUE, groupPort(BLUE), '239.1.1.1');
  for (const number of [2, 3]) overlay.host(number).addVtep(BLUE, groupPort(BLUE), '239.1.1.1');
  probe(overlay, [groupPort(BLUE)]);
  t.is(proberOf(overlay.host(1)).list()[0], groupPort(BLUE));
  t.deepEqual(outcomes(overlay), [ANSWERED, ANSWERED, ANSWERED]);
  t.deepEqual(
    [2, 3].map((host) => innersFrom(overlay, host).length),
    [3, 3],
  );
});

for (const [what, tagged] of [
  ['of one VLAN', false],
  ['of several', true],
] as const) {
  test(`in a network with VLANs, through a VTEP ${what}`, (t) => {
    const options: HostOptions = {
      networks: { [BLUE]: { vlanProtocol: 0x8100 } },
      gateway: false,
      ports: { 1: {}, 2: {}, 3: {} },
    };
    const hosts = [1, 2].map((number) => {
      const host = new Host(number, options);
      for (const port of [1, 2, 3]) host.topology.removePort(port);
      for (const vid of [10, 20]) host.topology.addVlan(BLUE, vid, vid + 1000);
      host.know(3 - number);
      host.topology.addPort(vtepPort(BLUE, 3 - number), BLUE, {
        vlan: tagged ? { native: 0, tagged: [10, 20] } : { native: 10, tagged: [] },
        isolation: 1,
        vtep: { address: new Host(3 - number, options).dataplane.vxlan.vteps.own[0].options.local, floods: true },
      });
      return host;
    });
    const [one, two] = hosts;
    const questions = outersOf(one.sentBy(() => proberOf(one).send([vtepPort(BLUE, 2)])));
    t.deepEqual(
      questions.map(({ inner }) => (inner[12] === 0x81 ? (inner[14] % 16) * 256 + inner[15] : 0)),
      tagged ? [10, 10, 10] : [0, 0, 0],
    );
    t.true(questions.every(({ inner }) => inner.length <= 1450 + 14));
    const answers = questions.flatMap(({ inner }) =>
      outersOf(two.receive(UPLINK_PORT, outer(two.outerFrom(1), inner))),
    );
    for (const { inner } of answers) one.receive(UPLINK_PORT, outer(one.outerFrom(2), inner));
    const list = proberOf(one).list();
    t.deepEqual([list[1], list[3], list[5]], [ANSWERED, ANSWERED, ANSWERED]);
    for (const host of hosts) expectWhole(t, host);
  });
}

test('a tag in a network without VLANs is no probe', (t) => {
  const { host, questions, ask } = asked();
  const frame = vlan(10, 0x0800, questions[0].subarray(14));
  t.is(ask(Uint8Array.from([...questions[0].subarray(0, 12), 0x81, 0, ...frame])), 0);
  t.deepEqual(host.dropped(), { vxlan_vlan: 1 });
});
