/** What is taken from the underlay, and what is not and why: RFC 7348, 4.1, 4.3, 5 and 6. Each case also as the reference judges it. */

import test, { type ExecutionContext } from 'ava';
import { COUNTER_RX_PACKETS } from '../../../core/counters.js';
import { EVENT_VTEP_HEARD } from '../../../core/events.js';
import { frame, tagged } from '../../support/harness.js';
import { filler } from '../nat/wire.js';
import { datagram, type Family } from './support/inner.js';
import {
  BLUE,
  container,
  delivered,
  expectWhole,
  GREEN,
  Host,
  portsOf,
  UPLINK_PORT,
  underlayMac,
  vtepPort,
} from './support/lab.js';
import { type OuterFields, outer, outerAround, vxlanHeader } from './support/outer.js';
import { judge, type ReferenceVtep } from './support/reference.js';

const FAMILIES: readonly Family[] = [4, 6];
const HERE = container(1, 1);
const THERE = container(2, 1);
const INNER = datagram(THERE, HERE);
const BLUE_VTEP = vtepPort(BLUE, 2);

function host(options: ConstructorParameters<typeof Host>[1] = {}): Host {
  const one = new Host(1, options);
  one.know(2);
  for (const network of [BLUE, GREEN])
    one.addVtep(network, vtepPort(network, 2), one.family === 4 ? '10.77.0.2' : 'fd77::2');
  // The bridge knows where the container is.
  one.receive(1, datagram(HERE, container(1, 2)));
  return one;
}

function referenceOf(one: Host): ReferenceVtep {
  const vteps = [one.family === 4 ? '10.77.0.2' : 'fd77::2'];
  const networks = [42, 43].map((vni) => ({ vni, udpPort: 4789, vteps }));
  return { mac: underlayMac(1), address: one.address, networks };
}

/** A packet that is taken: it comes out on port 1, as it went in. */
function expectTaken(t: ExecutionContext, one: Host, packet: Uint8Array, what: string): void {
  const judgment = judge(packet, referenceOf(one));
  t.true(judgment !== null && 'taken' in judgment, `${what}: the reference`);
  const before = one.counter(BLUE_VTEP, COUNTER_RX_PACKETS);
  const sent = one.receive(UPLINK_PORT, packet);
  t.deepEqual(
    sent.map(({ port, frame: bytes }) => ({ port, bytes })),
    [{ port: 1, bytes: INNER }],
    what,
  );
  t.is(one.counter(BLUE_VTEP, COUNTER_RX_PACKETS), before + 1, what);
  expectWhole(t, one, what);
}

/** One that is not: nothing leaves, and the reason is counted once. */
function expectRefused(t: ExecutionContext, one: Host, packet: Uint8Array, reason: string, what: string): void {
  const judgment = judge(packet, referenceOf(one));
  t.true(judgment !== null && 'refused' in judgment && judgment.refused.includes(reason), `${what}: the reference`);
  const before = one.dropped();
  t.deepEqual(delivered(one.receive(UPLINK_PORT, packet)), [], what);
  const after = one.dropped();
  t.is(after[reason], (before[reason] ?? 0) + 1, `${what}: ${JSON.stringify(after)}`);
  const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((all, count) => all + count, 0);
  t.is(sum(after), sum(before) + 1, what);
  expectWhole(t, one, what);
}

for (const family of FAMILIES) {
  const over = `over IPv${family}`;

  test(`${over}: reserved flags and fields are ignored`, (t) => {
    const one = host({ family });
    for (let flags = 0; flags < 256; flags++) {
      if ((flags & 0x08) === 0) continue;
      expectTaken(t, one, outer(one.outerFrom(2, { flags, reserved: 0xa5c3f9, last: flags }), INNER), `flags ${flags}`);
    }
    for (let bit = 0; bit < 24; bit++)
      expectTaken(t, one, outer(one.outerFrom(2, { reserved: 2 ** bit }), INNER), `reserved bit ${bit}`);
    for (let last = 0; last < 256; last++)
      expectTaken(t, one, outer(one.outerFrom(2, { last }), INNER), `last octet ${last}`);
  });

  test(`${over}: without the I flag a packet is dropped, whatever else is set`, (t) => {
    const one = host({ family });
    for (let flags = 0; flags < 256; flags++) {
      if ((flags & 0x08) === 0)
        expectRefused(t, one, outer(one.outerFrom(2, { flags }), INNER), 'vxlan_malformed', `flags ${flags}`);
    }
  });

  test(`${over}: a VNI that no network has, each bit of it`, (t) => {
    const one = host({ family });
    for (let bit = 0; bit < 24; bit++) {
      const vni = (42 ^ (2 ** bit)) >>> 0;
      if (vni === 43) continue; // the other network's
      expectRefused(t, one, outer(one.outerFrom(2, { vni }), INNER), 'vxlan_vni', `VNI ${vni}`);
    }
    expectRefused(t, one, outer(one.outerFrom(2, { vni: 0 }), INNER), 'vxlan_vni', 'VNI 0');
  });

  test(`${over}: a VTEP that nobody knows`, (t) => {
    const one = host({ family });
    const from = family === 4 ? ['10.77.0.3', '10.77.1.2', '192.0.2.2'] : ['fd77::3', 'fd77::1:2', '2001:db8::2'];
    for (const address of from)
      expectRefused(t, one, outer(one.outerFrom(2, { from: address }), INNER), 'vxlan_vtep', address);
    const heard = one.events().filter(({ kind }) => kind === EVENT_VTEP_HEARD);
    t.deepEqual(heard, [], 'a closed network tells nobody');
  });

  test(`${over}: VXLAN-GPE is refused by name, whichever protocol is next`, (t) => {
    const one = host({ family });
    for (const flags of [0x0c, 0x0d, 0x0e, 0x0f]) {
      for (let next = 1; next <= 5; next++)
        expectRefused(
          t,
          one,
          outer(one.outerFrom(2, { flags, reserved: next }), INNER),
          'vxlan_gpe',
          `${flags}, ${next}`,
        );
    }
  });

  test(`${over}: UDP checksum 0 and a right one are taken, a wrong one is not`, (t) => {
    const one = host({ family });
    expectTaken(t, one, outer(one.outerFrom(2, { checksum: 'zero' }), INNER), 'zero');
    expectTaken(t, one, outer(one.outerFrom(2, { checksum: 'right' }), INNER), 'right');
    expectRefused(t, one, outer(one.outerFrom(2, { checksum: 'wrong' }), INNER), 'vxlan_checksum', 'wrong');
    for (let length = 0; length < 40; length++) {
      const inner = datagram(THERE, HERE, { data: filler(length) });
      const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { checksum: 'right' }), inner));
      t.deepEqual(
        sent.map((each) => each.frame),
        [inner],
        `${length} octets`,
      );
    }
    expectWhole(t, one);
  });

  test(`${over}: any octet that a right checksum covers, and that is changed on the way, is noticed`, (t) => {
    const one = host({ family });
    const good = outer(one.outerFrom(2, { checksum: 'right' }), INNER);
    // All from the VXLAN header on; what is before also says whether the packet is ours at all.
    for (let at = good.length - INNER.length - 8; at < good.length; at++) {
      const bad = good.slice();
      bad[at] ^= 0x10;
      expectRefused(t, one, bad, 'vxlan_checksum', `octet ${at}`);
    }
  });

  test(`${over}: payloads of 0 to 64 octets`, (t) => {
    const one = host({ family });
    for (let length = 0; length <= 64; length++) {
      const payload = [...vxlanHeader({}), ...INNER].slice(0, length);
      const before = one.dropped();
      const packet = outerAround(one.outerFrom(2), payload);
      const sent = delivered(one.receive(UPLINK_PORT, packet));
      const judgment = judge(packet, referenceOf(one));
      if (length < 8 + 14) {
        t.deepEqual(sent, [], `${length} octets`);
        t.true(judgment !== null && 'refused' in judgment);
        const after = one.dropped();
        const counted = ['vxlan_malformed', 'runt'].reduce(
          (n, name) => n + (after[name] ?? 0) - (before[name] ?? 0),
          0,
        );
        t.is(counted, 1, `${length} octets: ${JSON.stringify(after)}`);
      } else {
        t.true(judgment !== null && 'taken' in judgment);
        t.deepEqual(
          sent.map(({ frame: bytes }) => bytes),
          [INNER.slice(0, length - 8)],
          `${length} octets`,
        );
      }
      expectWhole(t, one, `${length} octets`);
    }
  });

  test(`${over}: every truncation of a whole packet`, (t) => {
    const one = host({ family });
    for (const checksum of ['zero', 'right'] as const) {
      const whole = outer(one.outerFrom(2, { checksum }), INNER);
      for (let length = 0; length < whole.length; length++) {
        t.deepEqual(delivered(one.receive(UPLINK_PORT, whole.slice(0, length))), [], `${length} octets`);
        expectWhole(t, one, `${length} octets`);
      }
      expectTaken(t, one, whole, 'the whole of it');
    }
  });

  test(`${over}: a UDP length that lies`, (t) => {
    const one = host({ family });
    const whole = 8 + 8 + INNER.length;
    for (const udpLength of [1, 7, whole + 1, 0xffff]) {
      const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { udpLength }), INNER));
      t.deepEqual(delivered(sent), [], `${udpLength}`);
      expectWhole(t, one, `${udpLength}`);
    }
    for (let udpLength = 8; udpLength < 8 + 8 + 14; udpLength++) {
      const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { udpLength }), INNER));
      t.deepEqual(delivered(sent), [], `${udpLength}`);
      expectWhole(t, one, `${udpLength}`);
    }
    // Less than the IP packet: what is behind is not VXLAN's.
    const [shorter] = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { udpLength: whole - 10 }), INNER));
    t.deepEqual(shorter.frame, INNER.slice(0, -10));
    expectWhole(t, one);
  });

  test(`${over}: link padding behind the packet is no part of it`, (t) => {
    const one = host({ family });
    const packet = outer(one.outerFrom(2), INNER);
    expectTaken(t, one, Uint8Array.from([...packet, ...new Uint8Array(7).fill(0xee)]), 'padded');
  });

  test(`${over}: to another address of the host, or another UDP port, is no VXLAN`, (t) => {
    const one = host({ family });
    const others: Partial<OuterFields>[] = [
      { to: family === 4 ? '172.30.0.1' : 'fd00:30::1' },
      { to: family === 4 ? '10.77.0.255' : 'fd77::ff' },
      { destinationPort: 4788 },
      { destinationPort: 8472 },
      { toMac: underlayMac(3) },
    ];
    for (const fields of others) {
      const packet = outer(one.outerFrom(2, fields), INNER);
      t.is(judge(packet, referenceOf(one)), null);
      t.deepEqual(delivered(one.receive(UPLINK_PORT, packet)), [], JSON.stringify(fields));
      expectWhole(t, one, JSON.stringify(fields));
    }
    t.is(one.counter(BLUE_VTEP, COUNTER_RX_PACKETS), 0);
  });
}

test('fragments of a VXLAN packet are dropped, and never put together', (t) => {
  const one = host();
  expectRefused(
    t,
    one,
    outer(one.outerFrom(2, { dontFragment: false, fragment: 0x2000 }), INNER),
    'vxlan_fragment',
    'first',
  );
  const whole = outer(one.outerFrom(2, { dontFragment: false, identification: 7 }), INNER);
  const payload = whole.slice(34);
  const first = outerAround(one.outerFrom(2, { dontFragment: false, fragment: 0x2000, identification: 7 }), [
    ...payload.slice(8, 48),
  ]);
  t.deepEqual(delivered(one.receive(UPLINK_PORT, first)), []);
  for (const at of [48, 56]) {
    const later = outerAround(one.outerFrom(2, { dontFragment: false, fragment: at / 8, identification: 7 }), [
      ...payload.slice(at),
    ]);
    t.deepEqual(delivered(one.receive(UPLINK_PORT, later)), []);
  }
  one.passTo(120);
  t.is(one.counter(BLUE_VTEP, COUNTER_RX_PACKETS), 0);
  expectWhole(t, one);
});

test('outer IPv4 options do not hide the packet, and a wrong header checksum does', (t) => {
  const one = host();
  expectTaken(t, one, outer(one.outerFrom(2, { options: [1, 1, 1, 1] }), INNER), 'options');
  const bad = outer(one.outerFrom(2), INNER);
  bad[24] ^= 1;
  t.deepEqual(delivered(one.receive(UPLINK_PORT, bad)), []);
  t.is(one.dropped().ip_checksum, 1);
  expectWhole(t, one);
});

test("an uplink of another VRF, where the same addresses are others', leads into no tunnel", (t) => {
  const one = host();
  const { router } = one.dataplane;
  const other = 8;
  router.addVrf(2, { interconnect: true, recordRoute: false, timestamp: false });
  one.topology.addNetwork(other, 300, 1024);
  one.topology.addPort(other, other, { routed: true });
  const iface = { ...router.interface(UPLINK_PORT), vrf: 2, fid: other, port: other };
  one.sentBy(() => router.addInterface(other, iface));
  const packet = outer(one.outerFrom(2), INNER);
  t.deepEqual(
    delivered(one.receive(other, packet)).filter(({ port }) => port <= 6),
    [],
  );
  t.is(one.counter(BLUE_VTEP, COUNTER_RX_PACKETS), 0);
  expectTaken(t, one, packet, 'by the uplink of its own VRF');
});

test('a tag outside, or a unicast packet in a group frame: none of ours', (t) => {
  for (const family of FAMILIES) {
    const one = host({ family });
    const good = outer(one.outerFrom(2), INNER);
    const group = outer(one.outerFrom(2, { toMac: [1, 0, 0x5e, 1, 1, 1] }), INNER);
    const broadcast = outer(one.outerFrom(2, { toMac: [255, 255, 255, 255, 255, 255] }), INNER);
    for (const bytes of [tagged(good, 5), tagged(good, 0, 7), tagged(good, 5, 0, 0x88a8), group, broadcast]) {
      t.is(judge(bytes, referenceOf(one)), null);
      t.deepEqual(delivered(one.receive(UPLINK_PORT, bytes)), []);
    }
    t.is(one.counter(BLUE_VTEP, COUNTER_RX_PACKETS), 0);
    expectTaken(t, one, good, 'as it should be');
  }
});

test('a VTEP of one network is no VTEP of another', (t) => {
  const one = new Host(1);
  one.know(2);
  one.addVtep(BLUE, vtepPort(BLUE, 2), '10.77.0.2');
  one.receive(UPLINK_PORT, outer(one.outerFrom(2, { vni: 43 }), INNER));
  t.deepEqual(one.dropped(), { vxlan_vtep: 1 });
  expectWhole(t, one);
});

test('networks with the same VNI at different UDP ports are two', (t) => {
  const one = host({ vxlan: { [BLUE]: { vni: 7 }, [GREEN]: { vni: 7, udpPort: 8472 } } });
  t.deepEqual(portsOf(one.receive(UPLINK_PORT, outer(one.outerFrom(2, { vni: 7 }), INNER))), [1]);
  const other = outer(one.outerFrom(2, { vni: 7, destinationPort: 8472 }), INNER);
  t.deepEqual(portsOf(one.receive(UPLINK_PORT, other)), [4, 5, 6]);
  expectWhole(t, one);
});

test('the group policy tag of the last packet is kept, and nothing is taken for one without the flag', (t) => {
  const one = host();
  const heard = (): number | undefined => one.dataplane.ports[BLUE_VTEP].vtep?.gbp;
  t.is(heard(), -1);
  one.receive(UPLINK_PORT, outer(one.outerFrom(2, { flags: 0x88, reserved: 0xabcd }), INNER));
  t.is(heard(), 0xabcd);
  one.receive(UPLINK_PORT, outer(one.outerFrom(2, { flags: 0x08, reserved: 0x1234 }), INNER));
  t.is(heard(), -1);
  expectWhole(t, one);
});

test('when a VTEP was heard last is kept', (t) => {
  const one = host();
  const { vtep } = one.dataplane.ports[BLUE_VTEP];
  t.is(vtep?.heardAt, -1);
  one.passTo(7);
  one.receive(UPLINK_PORT, outer(one.outerFrom(2), INNER));
  one.passTo(9);
  t.is(vtep?.heardAt, 7);
  one.receive(UPLINK_PORT, outer(one.outerFrom(2, { vni: 99 }), INNER));
  t.is(vtep?.heardAt, 7, 'not by what is refused');
});

test('frames inside that no bridge forwards do not get out of the tunnel either', (t) => {
  const one = host();
  const source = outer(one.outerFrom(2), frame([...HERE.mac], [3, 0, 0, 0, 0, 1]));
  const reserved = outer(one.outerFrom(2), frame([1, 0x80, 0xc2, 0, 0, 0x0e], [...THERE.mac]));
  t.deepEqual(delivered(one.receive(UPLINK_PORT, source)), []);
  t.deepEqual(delivered(one.receive(UPLINK_PORT, reserved)), []);
  t.deepEqual(one.dropped(), { source_multicast: 1, reserved_multicast: 1 });
  expectWhole(t, one);
});

test('a packet is counted once at each of its doors', (t) => {
  const one = host();
  const changes = one.changes(() => one.receive(UPLINK_PORT, outer(one.outerFrom(2), INNER)));
  t.deepEqual(changes, { 1: { tx: 1 }, [UPLINK_PORT]: { rx: 1, local: 1 }, [BLUE_VTEP]: { rx: 1 } });
  const out = one.changes(() => one.receive(1, datagram(HERE, THERE)));
  t.deepEqual(out, { 1: { rx: 1 }, [UPLINK_PORT]: { tx: 1 }, [BLUE_VTEP]: { tx: 1, originated: 1 } });
});

test('IPv6 with mapped addresses is not the IPv4 that it maps: filters of the underlay have not seen it as such', (t) => {
  const one = host({ family: 4 });
  const ends = { from: '::ffff:a4d:2', to: '::ffff:a4d:1' };
  const before = one.counter(BLUE_VTEP, COUNTER_RX_PACKETS);
  t.deepEqual(delivered(one.receive(UPLINK_PORT, outer({ ...one.outerFrom(2), ...ends }, INNER))), []);
  t.deepEqual(
    delivered(one.receive(UPLINK_PORT, outer({ ...one.outerFrom(2), from: ends.from, to: 'fd77::1' }, INNER))),
    [],
  );
  t.is(one.counter(BLUE_VTEP, COUNTER_RX_PACKETS), before);
  expectTaken(t, one, outer(one.outerFrom(2), INNER), 'IPv4 itself');
});
