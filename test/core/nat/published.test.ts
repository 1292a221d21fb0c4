/** Published ports against a list that is searched from end to end. */

import test from 'ava';
import { PublishedPorts } from '../../../core/nat/published.js';
import { MAPPED } from '../../../core/router/address.js';
import { createRandom, type Random, rerunLine, seedOfRun } from '../../support/corpus.js';

const TCP = 6;
const UDP = 17;

interface Entry {
  readonly zone: number;
  readonly protocol: number;
  readonly address: readonly [number, number, number, number];
  readonly first: number;
  readonly last: number;
  readonly targetFirst: number;
  readonly port: number;
}

const ANY4 = [0, 0, MAPPED, 0] as const;
const ANY6 = [0, 0, 0, 0] as const;
const word4 = (a: number, b: number, c: number, d: number): number => (a << 24) | (b << 16) | (c << 8) | d;

function record({ zone, protocol, address, first, last, targetFirst, port }: Entry): number[] {
  const isMapped = address[2] === MAPPED;
  const target = isMapped ? [0, 0, MAPPED, word4(172, 30, 0, port & 0xff)] : [0xfd000030 | 0, 0, 0, port];
  return [zone, protocol, ...address, first, last, ...target, targetFirst, port, 0];
}

function publishedPorts(entries: readonly Entry[]): PublishedPorts {
  const ports = new PublishedPorts();
  ports.set(Int32Array.from(entries.flatMap(record)));
  return ports;
}

function find(ports: PublishedPorts, { zone, protocol, address }: Entry, port: number): number {
  const [a, b, c, d] = address;
  if (c === MAPPED) return ports.find4(zone, protocol, d, port);
  return ports.find6(zone, protocol, a, b, c, d, port);
}

const web: Entry = { zone: 1, protocol: TCP, address: ANY4, first: 8080, last: 8080, targetFirst: 80, port: 3 };

test('a port of all addresses is found at each of them, in its zone and protocol alone', (t) => {
  const ports = publishedPorts([web]);
  const at = ports.find4(1, TCP, word4(10, 77, 0, 1), 8080);
  t.is(at, 0);
  t.is(ports.target(at, 3), word4(172, 30, 0, 3));
  t.is(ports.targetPort(at, 8080), 80);
  t.is(ports.endpointPort(at), 3);
  t.is(ports.find4(1, TCP, word4(203, 0, 113, 9), 8080), 0);
  t.is(ports.find4(2, TCP, word4(10, 77, 0, 1), 8080), -1);
  t.is(ports.find4(1, UDP, word4(10, 77, 0, 1), 8080), -1);
  t.is(ports.find4(1, TCP, word4(10, 77, 0, 1), 8079), -1);
  t.is(ports.find4(1, TCP, word4(10, 77, 0, 1), 8081), -1);
  t.is(ports.find6(1, TCP, 0x20010db8, 0, 0, 1, 8080), -1);
});

test('what is bound to an address is found there alone', (t) => {
  const own = word4(10, 77, 0, 1);
  const ports = publishedPorts([{ ...web, address: [0, 0, MAPPED, own] }]);
  t.is(ports.find4(1, TCP, own, 8080), 0);
  t.is(ports.find4(1, TCP, word4(10, 77, 0, 2), 8080), -1);
});

test('one record holds all ports there are, and its ports go to the endpoint in order', (t) => {
  const ports = publishedPorts([
    { ...web, first: 1, last: 65_535, targetFirst: 1 },
    { ...web, zone: 2, first: 6000, last: 6010, targetFirst: 7000 },
  ]);
  t.is(ports.count, 2);
  for (const port of [1, 80, 65_535]) t.is(ports.targetPort(ports.find4(1, TCP, 1, port), port), port);
  t.is(ports.find4(1, TCP, 1, 0), -1);
  const at = ports.find4(2, TCP, 1, 6010);
  t.is(ports.targetPort(at, 6010), 7010);
});

test('what is only kept from address translation leads nowhere', (t) => {
  const ports = publishedPorts([{ ...web, port: 0 }]);
  t.is(ports.count, 1);
  t.is(ports.find4(1, TCP, word4(10, 77, 0, 1), 8080), -1);
});

test('nothing published: nothing found', (t) => {
  const ports = publishedPorts([]);
  t.is(ports.count, 0);
  t.is(ports.find4(1, TCP, 1, 80), -1);
  t.is(ports.find6(1, TCP, 0, 0, 0, 1, 80), -1);
});

const ADDRESSES = [ANY4, ANY6, [0, 0, MAPPED, word4(10, 0, 0, 1)], [0, 0, MAPPED, -1], [0x20010db8, 0, 0, 1]] as const;

/** Ranges that do not overlap within one zone, protocol and address. */
function randomEntries(random: Random): Entry[] {
  const entries: Entry[] = [];
  for (const zone of [1, 2, 4096]) {
    for (const protocol of [TCP, UDP, 132]) {
      for (const address of ADDRESSES) {
        let first = 1 + random(2000);
        while (first <= 65_535) {
          const last = Math.min(65_535, first + random(500));
          const port = entries.length + 1;
          entries.push({
            zone,
            protocol,
            address,
            first,
            last,
            targetFirst: random(65_536 - (last - first)),
            port,
          });
          first = last + 1 + random(5000);
        }
      }
    }
  }
  return entries;
}

function shuffled(entries: readonly Entry[], random: Random): Entry[] {
  const keyed = entries.map((entry) => ({ entry, key: random(1_000_000) }));
  return keyed.sort((a, b) => a.key - b.key).map(({ entry }) => entry);
}

const isAny = ({ address }: Entry): boolean => address[3] === 0;

test('agrees with a list that is searched from end to end', (t) => {
  const seed = seedOfRun();
  const random = createRandom(seed);
  const entries = randomEntries(random);
  const ports = publishedPorts(shuffled(entries, random));
  t.is(ports.count, entries.length);
  for (let i = 0; i < 20_000; i++) {
    const asked = entries[random(entries.length)] as Entry;
    const port = random(65_536);
    const isThere = ({ address }: Entry): boolean =>
      String(address) === String(asked.address) || (address[3] === 0 && address[2] === asked.address[2]);
    const holding = entries.filter((entry) => {
      const { zone, protocol, first, last } = entry;
      return zone === asked.zone && protocol === asked.protocol && first <= port && port <= last && isThere(entry);
    });
    const expected = holding.find((entry) => !isAny(entry)) ?? holding[0];
    const at = find(ports, asked, port);
    const hint = rerunLine(seed, 'dist/test/core/nat/published.test.js');
    t.is(at < 0 ? -1 : ports.endpointPort(at), expected?.port ?? -1, hint);
    if (expected !== undefined) t.is(ports.targetPort(at, port), expected.targetFirst + port - expected.first, hint);
  }
});
