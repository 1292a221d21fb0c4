/** The routes of a VRF against a list that is searched from end to end, and what it keeps count of. */

import test from 'ava';
import { Hop, prefix4, prefix6, ROUTE_BLACKHOLE, ROUTE_LOCAL, ROUTE_UNICAST, Vrf } from '../../../core/router/vrf.js';
import { createRandom, type Random, rerunLine, seedOfRun } from '../../support/corpus.js';
import { prefix, via, word4, words6 } from './lab.js';

const PREFIXES = 100_000;
const CHANGES = 50_000;
const LOOKUPS = 200;

/** Prefixes and the number of their next hop, found by trying every one. */
class Reference {
  readonly words: number[][] = [];
  readonly lengths: number[] = [];
  readonly hops: number[] = [];
  readonly places = new Map<string, number>();

  set(words: number[], length: number, hop: number): void {
    const key = `${words}/${length}`;
    const at = this.places.get(key) ?? this.words.length;
    this.places.set(key, at);
    this.words[at] = words;
    this.lengths[at] = length;
    this.hops[at] = hop;
  }

  remove(at: number): void {
    const last = this.words.length - 1;
    this.places.delete(`${this.words[at]}/${this.lengths[at]}`);
    if (at !== last) this.places.set(`${this.words[last]}/${this.lengths[last]}`, at);
    for (const list of [this.words, this.lengths, this.hops] as unknown[][]) {
      list[at] = list[last];
      list.pop();
    }
  }

  /** Hop of the longest prefix; -1: none. */
  find(address: readonly number[]): number {
    let best = -1;
    let length = -1;
    for (let i = 0; i < this.words.length; i++) {
      if (this.lengths[i] > length && isIn(address, this.words[i], this.lengths[i])) {
        best = this.hops[i];
        length = this.lengths[i];
      }
    }
    return best;
  }
}

/** Whether the first bits are the same. */
function isIn(address: readonly number[], words: readonly number[], length: number): boolean {
  for (let i = 0, left = length; left > 0; i++, left -= 32) {
    if ((address[i] ^ words[i]) >>> Math.max(0, 32 - left) !== 0) return false;
  }
  return true;
}

function word(random: Random): number {
  return (random(65536) << 16) | random(65536);
}

/** Few first octets, so that prefixes lie inside each other. */
function address4(random: Random): number[] {
  return [((10 + random(4)) << 24) | (random(16) << 20) | (word(random) & 0xfffff)];
}

function address6(random: Random): number[] {
  return [0xfd000000 | random(4) | 0, random(3) << 28, word(random), word(random)];
}

const family4 = {
  name: 'IPv4',
  address: address4,
  longest: 32,
  prefix: (words: readonly number[], length: number) => prefix4(words[0], length),
  lookup: (vrf: Vrf, words: readonly number[]) => vrf.fib4.lookup(words[0]),
  text: (p: { d: number; length: number }): [number[], number] => [[p.d], p.length - 96],
};
const family6 = {
  name: 'IPv6',
  address: address6,
  longest: 128,
  prefix: (words: readonly number[], length: number) => prefix6(words[0], words[1], words[2], words[3], length),
  lookup: (vrf: Vrf, words: readonly number[]) => vrf.fib6.lookup(words[0], words[1], words[2], words[3]),
  text: (p: { a: number; b: number; c: number; d: number; length: number }): [number[], number] => [
    [p.a, p.b, p.c, p.d],
    p.length,
  ],
};

for (const family of [family4, family6]) {
  test(`RFC 1812 5.2.4: ${family.name}: 100,000 random prefixes, added, replaced and removed, against a search of all`, (t) => {
    const seed = seedOfRun();
    t.log(rerunLine(seed, 'dist/test/core/router/vrf.test.js'));
    const random = createRandom(seed);
    const vrf = new Vrf(1);
    const reference = new Reference();
    const set = (): void => {
      const length =
        random(10) === 0 ? random(family.longest + 1) : Math.min(family.longest, 8 + random(family.longest - 7));
      const { 0: words } = family.text(family.prefix(family.address(random), length));
      const hop = random(50);
      vrf.set(family.prefix(words, length), ROUTE_UNICAST, [new Hop(hop, null, 0)], false);
      reference.set(words, length, hop);
    };
    const check = (address: readonly number[]): void => {
      const route = vrf.routes[family.lookup(vrf, address)];
      const found = route.kind === ROUTE_UNICAST ? route.hops[0].iface : -1;
      const expected = reference.find(address);
      if (found !== expected) t.fail(`${address}: hop ${found}, expected ${expected}`);
    };
    while (reference.words.length < PREFIXES) set();
    t.is(vrf.prefixes, PREFIXES);
    for (let i = 0; i < LOOKUPS; i++) check(random(2) === 0 ? family.address(random) : near(reference, random));
    for (let i = 0; i < CHANGES; i++) {
      if (random(2) === 0) {
        set();
        continue;
      }
      const at = random(reference.words.length);
      if (!vrf.remove(family.prefix(reference.words[at], reference.lengths[at]))) t.fail('a prefix was not there');
      reference.remove(at);
    }
    for (let i = 0; i < LOOKUPS; i++) check(random(2) === 0 ? family.address(random) : near(reference, random));
    t.is(vrf.prefixes, reference.words.length);
    let listed = 0;
    vrf.forEach((p, route) => {
      const [words, length] = family.text(p);
      const at = reference.places.get(`${words}/${length}`);
      if (at === undefined || reference.hops[at] !== route.hops[0].iface)
        t.fail(`${words}/${length} is listed wrongly`);
      listed++;
    });
    t.is(listed, reference.words.length);
    while (reference.words.length > 0) {
      const at = reference.words.length - 1;
      vrf.remove(family.prefix(reference.words[at], reference.lengths[at]));
      reference.remove(at);
    }
    t.is(vrf.prefixes, 0);
    check(family.address(random));
    t.true(vrf.routes.length <= 52, 'so many routes as next hops, however many prefixes');
  });
}

/** An address in some prefix, or next to its ends. */
function near(reference: Reference, random: Random): number[] {
  const words = [...reference.words[random(reference.words.length)]];
  words[words.length - 1] = (words[words.length - 1] + random(3) - 1) | 0;
  return words;
}

test('RFC 1812 5.2.4: default routes, host routes, /31 and /127', (t) => {
  const vrf = new Vrf(1);
  for (const [i, text] of ['0.0.0.0/0', '::/0', '10.0.0.7/32', 'fd00::7/128', '10.0.0.8/31', 'fd00::8/127'].entries()) {
    vrf.set(prefix(text), ROUTE_UNICAST, [via(i + 1, null)], false);
  }
  const at = (address: string): number => {
    const value = address.includes(':') ? vrf.fib6.lookup(...words6(address)) : vrf.fib4.lookup(word4(address));
    return vrf.routes[value].hops[0].iface;
  };
  t.deepEqual(
    ['10.0.0.6', '10.0.0.7', '10.0.0.8', '10.0.0.9', '10.0.0.10', '255.255.255.255'].map(at),
    [1, 3, 5, 5, 1, 1],
  );
  t.deepEqual(['fd00::6', 'fd00::7', 'fd00::8', 'fd00::9', 'fd00::a', '::'].map(at), [2, 4, 6, 6, 2, 2]);
  t.is(vrf.prefixes, 6);
});

test('an IPv4 prefix and an IPv6 prefix of the same bits are two', (t) => {
  const vrf = new Vrf(1);
  vrf.set(prefix('0.0.0.0/0'), ROUTE_UNICAST, [via(1, null)], false);
  vrf.set(prefix('::ffff:0:0/95'), ROUTE_BLACKHOLE, [], false);
  t.is(vrf.get(prefix('0.0.0.0/0'))?.kind, ROUTE_UNICAST);
  t.is(vrf.get(prefix('::ffff:0:0/95'))?.kind, ROUTE_BLACKHOLE);
  t.true(vrf.remove(prefix('0.0.0.0/0')));
  t.false(vrf.remove(prefix('0.0.0.0/0')));
  t.is(vrf.get(prefix('::ffff:0:0/95'))?.kind, ROUTE_BLACKHOLE);
});

test('prefixes that say the same share a route; each of another number is free again with its last prefix', (t) => {
  const vrf = new Vrf(1);
  const hops = () => [via(2, '10.0.0.2', 5), via(1, '10.0.0.1', 1)];
  for (let i = 0; i < 100; i++) vrf.set(prefix(`10.${i}.0.0/16`), ROUTE_UNICAST, hops(), false);
  const route = vrf.get(prefix('10.5.0.0/16'));
  t.is(route, vrf.get(prefix('10.6.0.0/16')));
  t.is(route?.references, 100);
  t.deepEqual(
    route?.hops.map(({ metric }) => metric),
    [1, 5],
    'by metric',
  );
  t.is(vrf.routes.length, 2);
  for (const kind of [ROUTE_BLACKHOLE, ROUTE_UNICAST, ROUTE_UNICAST]) {
    vrf.set(prefix('10.5.0.0/16'), kind, kind === ROUTE_BLACKHOLE ? [] : hops(), false);
  }
  t.is(route?.references, 100, 'the same once more changes nothing');
  for (let i = 0; i < 100; i++) vrf.remove(prefix(`10.${i}.0.0/16`));
  t.is(route?.references, 0);
  for (let i = 0; i < 1000; i++) {
    vrf.set(prefix('10.0.0.0/8'), ROUTE_UNICAST, [via(i, null)], false);
  }
  t.true(vrf.routes.length <= 4, `${vrf.routes.length} routes`);
});

test('what follows from an interface is replaced by nobody but interfaces', (t) => {
  const vrf = new Vrf(1);
  vrf.set(prefix('10.1.0.0/24'), ROUTE_UNICAST, [via(1, null)], true);
  vrf.set(prefix('10.1.0.1/32'), ROUTE_LOCAL, [via(1, null)], true);
  for (const taken of ['10.1.0.0/24', '10.1.0.1/32']) {
    t.throws(() => vrf.set(prefix(taken), ROUTE_BLACKHOLE, [], false), {
      message: 'the prefix is one of an interface',
    });
  }
  t.is(vrf.get(prefix('10.1.0.1/32'))?.kind, ROUTE_LOCAL);
  vrf.set(prefix('10.1.0.0/24'), ROUTE_UNICAST, [via(2, null)], true);
  t.is(vrf.get(prefix('10.1.0.0/24'))?.hops[0].iface, 2);
  t.is(vrf.prefixes, 2);
});
