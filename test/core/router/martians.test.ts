/** Martians: every block by its edges, all first octets, and the blocks that must pass. */

import test from 'ava';
import fc from 'fast-check';
import { DROP_MARTIAN_DESTINATION, DROP_MARTIAN_SOURCE, DROP_NONE } from '../../../core/drop.js';
import {
  destinationReason4,
  destinationReason6,
  isHostAddress4,
  isHostAddress6,
  sourceReason4,
  sourceReason6,
} from '../../../core/router/martians.js';
import type { Words } from './icmp-frames.js';

function ip4(text: string): number {
  return text.split('.').reduce((word, octet) => (word << 8) | Number(octet), 0);
}

/** Full form only: eight groups. */
function ip6(text: string): Words {
  const groups = text.split(':').map((group) => Number.parseInt(group, 16));
  if (groups.length !== 8) throw new Error(`eight groups: ${text}`);
  const word = (index: number) => (groups[2 * index] << 16) | groups[2 * index + 1];
  return [word(0), word(1), word(2), word(3)];
}

type Row = [address: string, source: number, destination: number, host: boolean];
const BOTH = [DROP_MARTIAN_SOURCE, DROP_MARTIAN_DESTINATION] as const;
const SOURCE_ONLY = [DROP_MARTIAN_SOURCE, DROP_NONE] as const;
const NEITHER = [DROP_NONE, DROP_NONE] as const;

const TABLE4: readonly Row[] = [
  ['0.0.0.0', ...BOTH, false],
  ['0.255.255.255', ...BOTH, false],
  ['1.0.0.0', ...NEITHER, true],
  ['126.255.255.255', ...NEITHER, true],
  ['127.0.0.0', ...BOTH, false],
  ['127.0.0.1', ...BOTH, false],
  ['127.255.255.255', ...BOTH, false],
  ['128.0.0.0', ...NEITHER, true],
  ['169.253.255.255', ...NEITHER, true],
  ['169.254.0.0', ...BOTH, true],
  ['169.254.255.255', ...BOTH, true],
  ['169.255.0.0', ...NEITHER, true],
  ['223.255.255.255', ...NEITHER, true],
  ['224.0.0.0', ...SOURCE_ONLY, false],
  ['239.255.255.255', ...SOURCE_ONLY, false],
  ['240.0.0.0', ...BOTH, false],
  ['255.255.255.254', ...BOTH, false],
  ['255.255.255.255', ...BOTH, false],
];

test('RFC 1812 5.3.7, RFC 3927 2.7: IPv4 blocks by their edges', (t) => {
  for (const [address, source, destination, host] of TABLE4) {
    t.is(sourceReason4(ip4(address)), source, `source ${address}`);
    t.is(destinationReason4(ip4(address)), destination, `destination ${address}`);
    t.is(isHostAddress4(ip4(address)), host, `host ${address}`);
  }
});

test('RFC 6890: blocks that a laboratory may route pass', (t) => {
  const blocks = ['10.0.0.1', '100.64.0.1', '172.16.0.1', '192.0.0.1', '192.0.2.1', '192.168.0.1', '198.18.0.1'];
  for (const address of [...blocks, '198.51.100.1', '203.0.113.1']) {
    t.is(sourceReason4(ip4(address)), DROP_NONE, address);
    t.is(destinationReason4(ip4(address)), DROP_NONE, address);
  }
});

/** Prefixes as they stand in the RFCs, searched one by one. */
const NEVER4: readonly [prefix: string, length: number, source: boolean, destination: boolean][] = [
  ['0.0.0.0', 8, true, true],
  ['127.0.0.0', 8, true, true],
  ['169.254.0.0', 16, true, true],
  ['224.0.0.0', 4, true, false],
  ['240.0.0.0', 4, true, true],
];

function isIn4(address: number, prefix: string, length: number): boolean {
  return Math.floor((address >>> 0) / 2 ** (32 - length)) === Math.floor((ip4(prefix) >>> 0) / 2 ** (32 - length));
}

test('RFC 1812 5.3.7: any IPv4 address agrees with a search through the list, every first octet included', (t) => {
  const agrees = (address: number) => {
    const row = NEVER4.find(([prefix, length]) => isIn4(address, prefix, length));
    t.is(sourceReason4(address), row?.[2] ? DROP_MARTIAN_SOURCE : DROP_NONE, `${address >>> 0}`);
    t.is(destinationReason4(address), row?.[3] ? DROP_MARTIAN_DESTINATION : DROP_NONE, `${address >>> 0}`);
  };
  fc.assert(fc.property(fc.integer(), agrees), { numRuns: 2000 });
  for (let first = 0; first < 256; first++) for (const rest of [0, 1, 0xfe0001, 0xffffff]) agrees((first << 24) | rest);
});

const TABLE6: readonly Row[] = [
  ['0:0:0:0:0:0:0:0', ...BOTH, false],
  ['0:0:0:0:0:0:0:1', ...BOTH, false],
  ['0:0:0:0:0:0:0:2', ...NEITHER, true],
  ['0:0:0:0:0:1:0:0', ...NEITHER, true],
  ['0:0:0:0:0:ffff:a00:1', ...BOTH, false],
  ['0:0:0:1:0:ffff:a00:1', ...NEITHER, true],
  ['0:1:0:0:0:0:0:1', ...NEITHER, true],
  ['64:ff9b:0:0:0:0:a00:1', ...NEITHER, true],
  ['2001:db8:0:0:0:0:0:1', ...NEITHER, true],
  ['fd00:30:0:0:0:0:0:1', ...NEITHER, true],
  ['fdff:ffff:0:0:0:0:0:1', ...NEITHER, true],
  ['fe7f:ffff:0:0:0:0:0:1', ...NEITHER, true],
  ['fe80:0:0:0:0:0:0:1', ...BOTH, true],
  ['febf:ffff:0:0:0:0:0:1', ...BOTH, true],
  ['fec0:0:0:0:0:0:0:1', ...NEITHER, true],
  ['feff:ffff:0:0:0:0:0:1', ...NEITHER, true],
  ['ff00:0:0:0:0:0:0:0', ...SOURCE_ONLY, false],
  ['ff02:0:0:0:0:0:0:1', ...SOURCE_ONLY, false],
  ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', ...SOURCE_ONLY, false],
];

test('RFC 4291 2.5.2, 2.5.3, 2.5.6, 2.7; RFC 6890: IPv6 blocks by their edges', (t) => {
  for (const [address, source, destination, host] of TABLE6) {
    t.is(sourceReason6(...ip6(address)), source, `source ${address}`);
    t.is(destinationReason6(...ip6(address)), destination, `destination ${address}`);
    t.is(isHostAddress6(...ip6(address)), host, `host ${address}`);
  }
});

test('any IPv6 address agrees with a comparison bit by bit', (t) => {
  const word = fc.oneof(fc.integer(), fc.constantFrom(0, 1, 0xffff, 0xfe800000 | 0, 0xff020000 | 0, 0xfec00000 | 0));
  fc.assert(
    fc.property(word, word, word, word, (a, b, c, d) => {
      const bits = [a, b, c, d].map((part) => (part >>> 0).toString(2).padStart(32, '0')).join('');
      const isNobody = /^0{127}[01]$/.test(bits) || bits.startsWith('0'.repeat(80) + '1'.repeat(16));
      const isLinkLocal = bits.startsWith('1111111010');
      const isMulticast = bits.startsWith('11111111');
      t.is(sourceReason6(a, b, c, d), isNobody || isLinkLocal || isMulticast ? DROP_MARTIAN_SOURCE : DROP_NONE, bits);
      t.is(destinationReason6(a, b, c, d), isNobody || isLinkLocal ? DROP_MARTIAN_DESTINATION : DROP_NONE, bits);
      t.is(isHostAddress6(a, b, c, d), !isNobody && !isMulticast, bits);
    }),
    { numRuns: 2000 },
  );
});
