/** The rate limit of ICMP errors: the numbers it promises, who shares what, and the clock. */

import test from 'ava';
import fc from 'fast-check';
import { MAPPED } from '../../../core/router/address.js';
import {
  GLOBAL_BURST,
  GLOBAL_RATE,
  IcmpLimiter,
  PORT_BURST,
  PORT_RATE,
  SOURCE_BURST,
  SOURCE_RATE,
} from '../../../core/router/icmp-limit.js';
import { createRandom } from '../../support/corpus.js';

const HOST = 0xac1e0003 | 0;

/** Errors admitted of `count` to an IPv4 source at one moment. */
function burst(limiter: IcmpLimiter, address: number, milliseconds: number, count: number, port = 1): number {
  let admitted = 0;
  for (let i = 0; i < count; i++) if (limiter.admit(0, 0, MAPPED, address, port, milliseconds)) admitted++;
  return admitted;
}

/** The same with `perMillisecond` in each of `duration` milliseconds. */
function flood(limiter: IcmpLimiter, address: number, from: number, duration: number, perMillisecond: number): number {
  let admitted = 0;
  for (let at = 0; at < duration; at++) admitted += burst(limiter, address, from + at, perMillisecond);
  return admitted;
}

test('RFC 4443 2.4(f): three traceroutes of 16 probes at once are answered whole, from one host or from three', (t) => {
  t.is(burst(new IcmpLimiter(), HOST, 0, 48), 48);
  const limiter = new IcmpLimiter();
  for (let host = 0; host < 3; host++) t.is(burst(limiter, HOST + host, 5, 16), 16);
});

test('RFC 1812 4.3.2.8: 10,000 packets a second get the rate and one burst, and others theirs', (t) => {
  const limiter = new IcmpLimiter();
  const second = flood(limiter, HOST, 0, 1000, 10);
  t.true(second <= SOURCE_RATE + SOURCE_BURST, `${second}`);
  t.true(second >= SOURCE_RATE, `${second}`);
  const minute = flood(limiter, HOST, 1000, 10_000, 10);
  t.true(Math.abs(minute - 10 * SOURCE_RATE) <= 1, `${minute}`);
  t.is(burst(limiter, HOST + 1, 11_000, 48), 48, 'another host');
  t.is(limiter.sent, second + minute + 48);
  t.is(limiter.sent + limiter.suppressed, 11 * 10_000 + 48);
});

test('sources invented one after the other get what all get together', (t) => {
  const limiter = new IcmpLimiter();
  const random = createRandom(7);
  let admitted = 0;
  for (let at = 0; at < 5000; at++) {
    for (let i = 0; i < 10; i++) if (limiter.admit(0, 0, MAPPED, random(0xffffffff) | 0, i, at)) admitted++;
  }
  t.true(admitted <= GLOBAL_BURST + 5 * GLOBAL_RATE, `${admitted}`);
  t.true(admitted >= 5 * GLOBAL_RATE, `${admitted}`);
});

test('sources invented behind one port get the share of a port, and those behind another theirs', (t) => {
  const limiter = new IcmpLimiter();
  const random = createRandom(8);
  let admitted = 0;
  for (let at = 0; at < 5000; at++) {
    for (let i = 0; i < 10; i++) admitted += burst(limiter, random(0xffffffff) | 0, at, 1);
    if (at % 100 === 0) t.is(burst(limiter, HOST, at, 5, 2), 5);
  }
  t.true(admitted <= PORT_BURST + 5 * PORT_RATE, `${admitted}`);
  t.true(admitted >= 5 * PORT_RATE, `${admitted}`);
});

test('two sources that take the same place from each other gain no more than the rate of all', (t) => {
  // An address that falls on the place of HOST: after it has spoken, the bucket of HOST is a new one.
  const meets = (address: number) => {
    const limiter = new IcmpLimiter();
    burst(limiter, HOST, 0, SOURCE_BURST);
    burst(limiter, address, 0, 1);
    return burst(limiter, HOST, 0, 1) === 1;
  };
  let other = HOST + 1;
  while (!meets(other)) other++;
  const limiter = new IcmpLimiter();
  let admitted = 0;
  for (let at = 0; at < 2000; at++)
    for (let i = 0; i < 10; i++) admitted += burst(limiter, i & 1 ? HOST : other, at, 1, i);
  t.true(admitted <= GLOBAL_BURST + 2 * GLOBAL_RATE, `${admitted}`);
});

/** Hosts 1 to 254 whose spent bucket another of them replaces by a full one. */
function takenOver(source: (host: number) => [number, number, number, number]): number {
  let count = 0;
  for (let host = 1; host < 255; host++) {
    const limiter = new IcmpLimiter();
    for (let i = 0; i < SOURCE_BURST; i++) limiter.admit(...source(host), host, 0);
    for (let peer = 1; peer < 255; peer++) if (peer !== host) limiter.admit(...source(peer), peer, 0);
    if (limiter.admit(...source(host), host, 0)) count++;
  }
  return count;
}

test('of the endpoints of a /24, and of a /64, few share a place', (t) => {
  // By chance it would be 254 * (1 - (1023 / 1024) ** 253), 56.
  t.true(takenOver((host) => [0, 0, MAPPED, 0xac1e0000 | host]) <= 64);
  t.true(takenOver((host) => [0xfd000030 | 0, 0, 0, host]) <= 64);
});

test('every word of a source counts', (t) => {
  const sources: [number, number, number, number][] = [
    [1, 2, 3, 4],
    [9, 2, 3, 4],
    [1, 9, 3, 4],
    [1, 2, 9, 4],
    [1, 2, 3, 9],
  ];
  const limiter = new IcmpLimiter();
  for (const source of sources) {
    let admitted = 0;
    for (let i = 0; i < 100; i++) if (limiter.admit(...source, 1, 0)) admitted++;
    t.is(admitted, SOURCE_BURST, `${source}`);
  }
});

test('the clock wraps, stands still for weeks, and begins anywhere', (t) => {
  for (const begin of [0, 1, -1, 0x7fffffff, -0x80000000, 0x7fffff00]) {
    const limiter = new IcmpLimiter();
    t.is(burst(limiter, HOST, begin, 100), SOURCE_BURST, `at ${begin}`);
    t.is(burst(limiter, HOST, begin, 100), 0);
    t.is(burst(limiter, HOST, (begin + 100) | 0, 100), 10, `100 ms after ${begin}`);
    t.is(burst(limiter, HOST, (begin + 0x7fffffff) | 0, 100), SOURCE_BURST, 'after 24 days');
    t.is(burst(limiter, HOST, (begin - 2) | 0, 100), SOURCE_BURST, 'after 24 more');
  }
});

test('any pace of one source agrees with a bucket in exact arithmetic', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(400), fc.nat(80)), { maxLength: 40 }), (steps) => {
      const limiter = new IcmpLimiter();
      let at = 1000;
      let tokens = SOURCE_BURST * 1000;
      for (const [pause, count] of steps) {
        at += pause;
        tokens = Math.min(SOURCE_BURST * 1000, tokens + pause * SOURCE_RATE);
        const expected = Math.min(count, Math.floor(tokens / 1000));
        tokens -= expected * 1000;
        // The bucket for all fills ten times as fast and is deeper: it never decides here.
        t.is(burst(limiter, HOST, at, count), expected);
      }
    }),
  );
});
