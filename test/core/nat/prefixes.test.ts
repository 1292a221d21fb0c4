/** RFC 6296, IPv6 prefixes that are others outside, on the way through the router (nptv6.test.ts has the arithmetic). */

import test from 'ava';
import { POLICY_DROP } from '../../../core/nat/policy.js';
import { expectWhole } from '../router/lab.js';
import { Connection } from './connection.js';
import { A, A2, B, C, EXTERNAL, NatLab, type NatOptions, OUTSIDE, prefixes, SERVER, SERVER6 } from './lab.js';
import {
  addressOf,
  bytesOf,
  describe,
  echo,
  filler,
  fragments6,
  isQuoteWhole,
  readQuote,
  type Seen,
  tcp,
  udp,
  unreachable,
  withHops,
} from './wire.js';

const RULE = prefixes('fd00:1::/48', '2001:db8:a1::/48');
const SERVER_END = `[${SERVER6}]:53`;

function makeLab(options: NatOptions = {}): NatLab {
  return new NatLab({ ...options, translation: { 1: RULE, ...options.translation } });
}

/** The address that an endpoint has outside. */
function outsideOf(lab: NatLab, station = A): string {
  return lab.pass(station, echo(station.v6, SERVER6, 4000)).source;
}

/** Sum of 16-bit words modulo 0xffff. */
function sumOf(address: string): number {
  const bytes = bytesOf(address);
  return bytes.reduce((sum, byte, i) => (sum + (i % 2 === 0 ? byte * 256 : byte)) % 0xffff, 0);
}

test('RFC 6296 3.1: addresses leave with the other prefix, checksums as they were, and answers come back', (t) => {
  const lab = makeLab();
  for (const station of [A, A2]) {
    const outside = outsideOf(lab, station);
    t.true(outside.startsWith('2001:db8:a1:'));
    t.is(sumOf(outside), sumOf(station.v6), 'neutral to checksums');
    const given = udp(`[${station.v6}]:5000`, SERVER_END);
    const seen = lab.pass(station, given);
    t.is(describe(seen), `udp [${outside}]:5000 > ${SERVER_END}`, 'ports stay');
    t.deepEqual(seen.bytes.slice(40), given.slice(40), 'nothing behind the addresses changes');
    t.is(
      lab.say(OUTSIDE, udp(SERVER_END, `[${outside}]:5000`)),
      `${station.port} udp ${SERVER_END} > [${station.v6}]:5000`,
    );
  }
  expectWhole(t, lab);
});

test('RFC 6296 2: connections begin from either side', (t) => {
  const lab = makeLab();
  const outside = outsideOf(lab);
  const host = { station: OUTSIDE, end: `[${SERVER6}]:4000`, seen: `[${SERVER6}]:4000`, port: 6 };
  const served = { station: A, end: `[${A.v6}]:80`, seen: `[${outside}]:80`, port: 1 };
  const inward = new Connection(lab, host, `[${outside}]:80`, served);
  inward.open();
  inward.out({ data: 100 });
  inward.in({ data: 1000 });
  t.is(lab.say(OUTSIDE, echo(SERVER6, outside, 9)), `1 icmp 128 [${SERVER6}]:9 > [${A.v6}]:9`);
  t.is(lab.say(A, echo(A.v6, SERVER6, 9, true)), `6 icmp 129 [${outside}]:9 > [${SERVER6}]:9`);
  expectWhole(t, lab);
});

test('RFC 6296 3.4: a subnet without counterpart is refused, and its sender told', (t) => {
  const lab = makeLab();
  const odd = 'fd00:1:0:ffff::11';
  t.regex(lab.say(A, udp(`[${odd}]:1`, SERVER_END)), /^(\d icmp 1\/0 .* \| )?dropped untranslatable$/);
  const inward = '2001:db8:a1:ffff::11';
  t.is(
    lab.say(OUTSIDE, udp(SERVER_END, `[${inward}]:1`)),
    `6 icmp 1/0 2001:db8:ff::1 > ${SERVER6} [udp ${SERVER_END} > [${inward}]:1] | dropped untranslatable`,
  );
  expectWhole(t, lab);
});

test('RFC 6296 4.3: endpoints reach each other by the addresses that they have outside', (t) => {
  const lab = makeLab({ vrf: { interconnect: true } });
  const [mine, theirs] = [outsideOf(lab), outsideOf(lab, A2)];
  t.is(lab.say(A, udp(`[${A.v6}]:1`, `[${theirs}]:2`)), `2 udp [${mine}]:1 > [${A2.v6}]:2`);
  t.is(lab.say(A2, udp(`[${A2.v6}]:2`, `[${mine}]:1`)), `1 udp [${theirs}]:2 > [${A.v6}]:1`);
  t.is(
    lab.say(C, udp(`[${C.v6}]:1`, `[${theirs}]:3`)),
    `2 udp [${C.v6}]:1 > [${A2.v6}]:3`,
    'from a network that is not translated',
  );
  expectWhole(t, lab);
});

test('another prefix outside opens no way between networks', (t) => {
  const lab = makeLab();
  const outside = outsideOf(lab);
  t.regex(lab.say(B, udp(`[${B.v6}]:1`, `[${outside}]:2`)), /dropped prohibited$/);
  t.is(
    lab.say(OUTSIDE, udp(SERVER_END, `[${A.v6}]:2`)),
    'dropped not_published',
    'nor the addresses inside to the wire',
  );
  expectWhole(t, lab);
});

test('RFC 6296 with rules, which see the addresses inside', (t) => {
  const lab = makeLab();
  const outside = outsideOf(lab);
  lab.rules({ action: POLICY_DROP, to: `${A.v6}/128`, port: 22 });
  t.is(lab.say(OUTSIDE, tcp(`[${SERVER6}]:1`, `[${outside}]:22`)), 'dropped policy');
  t.is(lab.say(OUTSIDE, tcp(`[${SERVER6}]:1`, `[${outside}]:23`)), `1 tcp S [${SERVER6}]:1 > [${A.v6}]:23`);
  expectWhole(t, lab);
});

test('RFC 6296: ICMPv6 errors both ways quote what their receiver has sent', (t) => {
  const lab = makeLab();
  const outside = outsideOf(lab);
  const given = udp(`[${A.v6}]:5000`, SERVER_END);
  const sent = lab.pass(A, given);
  const inward = lab.pass(OUTSIDE, unreachable('2001:db8:77::1', outside, sent.bytes));
  const check = (seen: Seen, source: string, destination: string, quoted: Uint8Array): void => {
    t.is(`${seen.source} > ${seen.destination}`, `${source} > ${destination}`);
    t.deepEqual(readQuote(seen.payload).bytes, withHops(quoted, readQuote(seen.payload).hops));
    t.true(isQuoteWhole(seen.payload));
  };
  check(inward, '2001:db8:77::1', A.v6, given);
  const request = udp(SERVER_END, `[${outside}]:9`);
  const arrived = lab.pass(OUTSIDE, request);
  check(lab.pass(A, unreachable(A.v6, SERVER6, arrived.bytes)), outside, SERVER6, request);
  expectWhole(t, lab);
});

test('RFC 6296: fragments are put together, and have no other prefix by pieces', (t) => {
  const lab = makeLab({ slots: 256 });
  const outside = outsideOf(lab);
  const lines = fragments6(udp(`[${A.v6}]:5000`, SERVER_END, filler(1200)), 408).map((piece) => lab.say(A, piece));
  t.deepEqual(lines, ['held', 'held', `6 udp [${outside}]:5000 > ${SERVER_END} | local`]);
  const long = fragments6(udp(`[${A.v6}]:5000`, SERVER_END, filler(2400)), 1208).map((piece) => lab.give(A, piece));
  t.deepEqual(
    long.map((sent) => sent.length),
    [0, 2],
  );
  expectWhole(t, lab);
});

test('IPv4 of the same network is masqueraded all the same', (t) => {
  const lab = makeLab();
  t.is(lab.say(A, udp('10.1.0.11:5000', `${SERVER}:53`)), `6 udp ${EXTERNAL}:5000 > ${SERVER}:53`);
  expectWhole(t, lab);
});

test('prefixes are of their network, and change with it', (t) => {
  const lab = makeLab();
  outsideOf(lab);
  lab.change(1, { translation: prefixes('fd00:1::/48', '2001:db8:b2::/48') });
  const moved = lab.pass(A, echo(A.v6, SERVER6, 4000)).source;
  t.true(moved.startsWith('2001:db8:b2:'), 'of connections that there are too');
  t.regex(lab.say(B, echo(B.v6, SERVER6, 1)), /^6 icmp 128 \[fd00:2::13\]/);
  t.is(addressOf(bytesOf(moved)), moved);
  expectWhole(t, lab);
});
