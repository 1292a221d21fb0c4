/** Router advertisements: exact bytes, and when (RFC 4861, 6.2). */

import test from 'ava';
import { Advertiser } from '../../../core/router/advertise.js';
import type { AdvertisementOptions } from '../../../core/router/interface.js';
import { LOCAL } from '../../../core/verdict.js';
import { ip6 } from '../switch/multicast.js';
import {
  address,
  hexOf,
  high,
  type InterfaceFields,
  low,
  makeInterface,
  NeighborContext,
  ndFrame,
  OWN_LINK_LOCAL,
  OWN_MAC,
  PEER_LINK_LOCAL,
  PEER_MAC,
  SOURCE_OPTION,
} from './neighbor-context.js';

const OPTIONS: AdvertisementOptions = { interval: 200, lifetime: 1800, autonomous: true, managed: false, other: false };

class Scene {
  readonly context = new NeighborContext(16);
  readonly advertiser;
  readonly iface;

  constructor(fields: InterfaceFields = {}, seed = 7) {
    this.iface = makeInterface({ advertisement: OPTIONS, ...fields });
    this.advertiser = new Advertiser(this.context, seed);
  }

  pass(seconds: number): void {
    this.context.pass(seconds, () => this.advertiser.tick(this.iface));
  }

  /** A solicitation from an address, or from none. */
  ask(from: string): void {
    this.advertiser.solicited(this.iface, ...address(from), high(PEER_MAC), low(PEER_MAC));
  }
}

interface Expected {
  readonly to?: string;
  readonly toMac?: readonly number[];
  readonly flags?: number;
  readonly lifetime?: number;
  readonly mtu?: number;
  /** Prefix, its length, its flags. */
  readonly prefixes?: readonly (readonly [string, number, number])[];
}

/** By RFC 4861, 4.2 and 4.6. */
function advertisement(f: Expected): string {
  const lifetime = f.lifetime ?? 1800;
  const mtu = f.mtu ?? 1500;
  const prefixes = (f.prefixes ?? [['fd00:30::', 64, 0xc0]]).flatMap(([prefix, length, flags]) => [
    ...[3, 4, length, flags, 0x00, 0x27, 0x8d, 0x00, 0x00, 0x09, 0x3a, 0x80, 0, 0, 0, 0],
    ...ip6(prefix),
  ]);
  const body = [
    ...[64, f.flags ?? 0, lifetime >> 8, lifetime & 255, 0, 0, 0, 0, 0, 0, 0, 0],
    ...SOURCE_OPTION(OWN_MAC),
    ...(mtu < 1280 ? [] : [5, 1, 0, 0, 0, 0, mtu >> 8, mtu & 255]),
    ...prefixes,
  ];
  const to = { destination: f.to ?? 'ff02::1', ...(f.toMac === undefined ? {} : { toMac: f.toMac }) };
  return hexOf(ndFrame({ fromMac: OWN_MAC, source: OWN_LINK_LOCAL, type: 134, body, ...to }));
}

test('RFC 4861 6.2.3: what it says: hop limit, lifetime, MAC, MTU, and the prefix, on link and autonomous', (t) => {
  const s = new Scene();
  s.pass(1);
  t.deepEqual(s.context.takeSent(), [advertisement({})]);
});

test('flags, prefixes and MTU follow from the configuration', (t) => {
  const cases: [InterfaceFields, Expected][] = [
    [{ advertisement: { ...OPTIONS, managed: true } }, { flags: 0x80 }],
    [{ advertisement: { ...OPTIONS, other: true, lifetime: 0 } }, { flags: 0x40, lifetime: 0 }],
    [{ advertisement: { ...OPTIONS, autonomous: false } }, { prefixes: [['fd00:30::', 64, 0x80]] }],
    [{ mtu: 9000 }, { mtu: 9000 }],
    [{ mtu: 1280 }, { mtu: 1280 }],
    [{ internal: true }, { lifetime: 0 }],
    [{ v6: [] }, { prefixes: [] }],
    [
      // Hosts make addresses of 64 bits only (RFC 4862, 5.5.3); two addresses of one subnet are one prefix.
      { v6: ['fd00:1::1/64', 'fd00:2:3:4:5::1/80', 'fd00:1::2/64', 'fd00:6::6/128', 'fd00:1::1/48'] },
      {
        prefixes: [
          ['fd00:1::', 64, 0xc0],
          ['fd00:2:3:4:5::', 80, 0x80],
          ['fd00:1::', 48, 0x80],
        ],
      },
    ],
  ];
  for (const [fields, expected] of cases) {
    const s = new Scene(fields);
    s.pass(1);
    t.deepEqual(s.context.takeSent(), [advertisement(expected)], JSON.stringify(fields));
  }
});

test('more prefixes than fit into 1280 bytes are cut, not written over the slot', (t) => {
  const s = new Scene({ v6: Array.from({ length: 60 }, (_, i) => `fd00:${(i + 1).toString(16)}::1/64`) });
  s.pass(1);
  const [frame] = s.context.takeSent();
  t.is(frame.length / 2, 54 + 16 + 8 + 8 + 32 * 32);
});

test('RFC 4861 6.2.4: the first three within 16 s each, then at random within three quarters of the interval and all of it', (t) => {
  const gaps = new Set<number>();
  for (let seed = 1; seed <= 10; seed++) {
    const s = new Scene({}, seed);
    const times: number[] = [];
    for (let second = 0; second < 1500; second++) {
      s.pass(1);
      if (s.context.takeSent().length > 0) times.push(second);
    }
    t.is(times[0], 0);
    t.true(times[1] - times[0] <= 16 && times[2] - times[1] <= 16);
    for (let i = 3; i < times.length; i++) {
      const gap = times[i] - times[i - 1];
      gaps.add(gap);
      t.true(gap >= 150 && gap <= 200, `${gap} s`);
    }
  }
  t.true(gaps.size > 10);
});

test('RFC 4861 6.2.6: a solicitation is answered at once, to its sender', (t) => {
  const s = new Scene();
  s.ask(PEER_LINK_LOCAL);
  t.deepEqual(s.context.takeSent(), [advertisement({ to: PEER_LINK_LOCAL, toMac: PEER_MAC })]);
});

test('RFC 4861 6.2.6: to all where its sender has no address, but three seconds apart', (t) => {
  const s = new Scene();
  t.is(s.advertiser.solicited(s.iface, 0, 0, 0, 0, -1, 0), LOCAL);
  t.deepEqual(s.context.takeSent(), [advertisement({})]);
  const asked = s.context.milliseconds;
  for (let i = 0; i < 50; i++) s.ask('::');
  t.deepEqual(s.context.takeSent(), []);
  s.pass(2);
  t.deepEqual(s.context.sent, []);
  s.pass(1);
  t.is(s.context.sent.length, 1, 'those who asked meanwhile');
  t.true(((s.context.sent[0].at - asked) | 0) >= 3000);
  s.pass(1);
  t.is(s.context.sent.length, 1);
});

test('RFC 4861 6.2.5: an interface that goes says so, with lifetime 0, and then nothing', (t) => {
  const s = new Scene();
  s.pass(1);
  s.context.takeSent();
  s.advertiser.farewell(s.iface);
  t.deepEqual(s.context.takeSent(), [advertisement({ lifetime: 0 })]);
});

test('an interface without advertisements says nothing, also not at its end', (t) => {
  const s = new Scene({ advertisement: null });
  s.pass(100);
  s.advertiser.farewell(s.iface);
  t.deepEqual(s.context.takeSent(), []);
});

test('without a free slot it comes later', (t) => {
  const s = new Scene();
  s.context.isEmpty = true;
  s.pass(3);
  s.context.isEmpty = false;
  s.pass(1);
  t.is(s.context.takeSent().length, 1);
  t.is(s.context.arena.available, s.context.arena.slotCount);
});
