/** What a domain asks, when, whom, and when it leaves it to others. */

import test from 'ava';
import { ROUTER_ALWAYS, ROUTER_AUTO } from '../../../core/switch/snooping.js';
import {
  igmp,
  ip4,
  ip6,
  mld1Done,
  mld1Query,
  mld1Report,
  mld2Query,
  OWN_MAC,
  type Sent,
  slowChecksum,
  TestDomain,
  v2Leave,
  v2Query,
  v2Report,
  v3Query,
  v3Report,
} from './multicast.js';

const isIgmp = (sent: Sent) => sent.frame[12] === 0x08;
const OWN_ADDRESS = ip6('fe80::feff:200:5e10:2030');

/** A domain whose ports have been asked and whose startup queries are over. */
function settled(ports: number, options = {}): TestDomain {
  const domain = new TestDomain(ports, options);
  domain.pass(40);
  return domain;
}

/** Seconds, from the next one on, in which a general query of that kind went to all. */
function generalQueries(domain: TestDomain, seconds: number, kind: (sent: Sent) => boolean): number[] {
  const at: number[] = [];
  for (let second = 1; second <= seconds; second++) {
    if (domain.pass(1).some((sent) => sent.port === 0 && kind(sent))) at.push(second);
  }
  return at;
}

function checkIgmpQuery(
  t: { deepEqual(a: unknown, b: unknown): void; is(a: unknown, b: unknown): void },
  frame: number[],
  group: string,
  response: number,
) {
  const to = group === '0.0.0.0' ? '224.0.0.1' : group;
  const [, b, c, d] = ip4(to);
  t.is(frame.length, 60);
  t.deepEqual(frame.slice(0, 14), [1, 0, 0x5e, b & 127, c, d, ...OWN_MAC, 8, 0]);
  const header = frame.slice(14, 38);
  t.deepEqual(
    [...header.slice(0, 10), ...header.slice(12)],
    [...[0x46, 0xc0, 0, 36, 0, 0, 0, 0, 1, 2], ...[0, 0, 0, 0, ...ip4(to), 0x94, 4, 0, 0]],
  );
  t.is(slowChecksum(header), 0);
  const message = frame.slice(38, 50);
  t.deepEqual([...message.slice(0, 2), ...message.slice(4)], [0x11, response, ...ip4(group), 2, 125, 0, 0]);
  t.is(slowChecksum(message), 0);
  t.deepEqual(frame.slice(50), new Array(10).fill(0));
}

function checkMldQuery(
  t: { deepEqual(a: unknown, b: unknown): void; is(a: unknown, b: unknown): void },
  frame: number[],
  group: string,
  response: number,
) {
  const to = ip6(group === '::' ? 'ff02::1' : group);
  t.is(frame.length, 90);
  t.deepEqual(frame.slice(0, 14), [0x33, 0x33, ...to.slice(12), ...OWN_MAC, 0x86, 0xdd]);
  t.deepEqual(frame.slice(14, 54), [0x60, 0, 0, 0, 0, 36, 0, 1, ...OWN_ADDRESS, ...to]);
  t.deepEqual(frame.slice(54, 62), [58, 0, 5, 2, 0, 0, 1, 0]);
  const message = frame.slice(62);
  const rest = [response >> 8, response & 255, 0, 0, ...ip6(group), 2, 125, 0, 0];
  t.deepEqual([...message.slice(0, 2), ...message.slice(4)], [130, 0, ...rest]);
  t.is(slowChecksum([...OWN_ADDRESS, ...to, 0, 0, 0, 28, 0, 0, 0, 58, ...message]), 0);
}

test('general queries: every byte, out of a slot full of 0xa5', (t) => {
  const domain = new TestDomain(2);
  const sent = domain.pass(1);
  t.deepEqual(
    sent.map(({ port }) => port),
    [0, 0],
  );
  checkIgmpQuery(t, sent[0].frame, '0.0.0.0', 100);
  checkMldQuery(t, sent[1].frame, '::', 10_000);
  t.is(domain.snooping.queriesSent, 2);
  t.is(domain.arena.available, 4);
});

test('two at startup, a quarter of the interval apart, then one every 125 s', (t) => {
  const domain = new TestDomain(1);
  t.deepEqual(generalQueries(domain, 420, isIgmp), [1, 32, 157, 282, 407]);
});

test('a domain without ports asks nobody, and begins with its first port', (t) => {
  const domain = new TestDomain(0);
  t.deepEqual(domain.pass(300), []);
  domain.snooping.addPort(7, ROUTER_AUTO, true);
  t.deepEqual(generalQueries(domain, 40, isIgmp), [1, 32]);
});

test('without the option nothing is ever sent', (t) => {
  const domain = new TestDomain(3, { querier: false });
  domain.receive(1, v2Report('239.1.1.1'));
  domain.receive(1, v2Leave('239.1.1.1'));
  t.deepEqual(domain.pass(300), []);
});

test('a new port is asked, it alone, a second after it joined; answers are to come within a second', (t) => {
  const domain = settled(2);
  domain.snooping.addPort(9, ROUTER_AUTO, true);
  t.deepEqual(domain.pass(1), []);
  const sent = domain.pass(1);
  t.deepEqual(
    sent.map(({ port }) => port),
    [9, 9],
  );
  checkIgmpQuery(t, sent[0].frame, '0.0.0.0', 10);
  checkMldQuery(t, sent[1].frame, '::', 1000);
  t.deepEqual(domain.pass(5), []);
});

test('where a router is said to be nobody is asked: the port gets everything anyway', (t) => {
  const domain = settled(1);
  domain.snooping.addPort(9, ROUTER_ALWAYS, false);
  domain.receive(9, v2Report('239.1.1.1'));
  domain.receive(9, mld1Report('ff15::7'));
  domain.receive(9, v3Report({ type: 6, group: '239.1.1.1', sources: ['10.0.0.1'] }));
  t.deepEqual(domain.pass(5), []);
  t.deepEqual(domain.list(), ['239.1.1.1 9 255', 'ff15::7 9 255', 'router 9 -1']);
  domain.receive(9, v2Leave('239.1.1.1'));
  domain.receive(9, mld1Done('ff15::7'));
  t.deepEqual(domain.list(), ['router 9 -1']);
  domain.snooping.startLearning(domain.now);
  t.false(domain.pass(5).some(({ port }) => port === 9));
});

test('many new ports at once are asked with one query for all', (t) => {
  const domain = settled(1);
  for (let port = 10; port < 200; port++) domain.snooping.addPort(port, ROUTER_AUTO, true);
  t.deepEqual(
    domain.pass(2).map(({ port }) => port),
    [0, 0],
  );
  t.deepEqual(domain.pass(5), []);
});

test('a port that goes before it is asked is not asked', (t) => {
  const domain = settled(2);
  domain.snooping.addPort(9, ROUTER_AUTO, true);
  domain.pass(1);
  domain.snooping.removePort(9);
  t.deepEqual(domain.pass(5), []);
});

test('where no slot is free the query goes out with the next tick that has one', (t) => {
  const domain = new TestDomain(1);
  domain.starve = 2;
  t.deepEqual(domain.pass(1), []);
  t.is(domain.pass(1).filter(({ port }) => port === 0).length, 2);
  const late = settled(1);
  late.snooping.addPort(9, ROUTER_AUTO, true);
  late.pass(1);
  late.starve = 1;
  t.deepEqual(late.pass(1), []);
  t.deepEqual(
    late.pass(1).map(({ port }) => port),
    [9, 9],
  );
  for (let port = 10; port < 30; port++) late.snooping.addPort(port, ROUTER_AUTO, true);
  late.pass(1);
  late.starve = 1;
  t.deepEqual(late.pass(1), []);
  t.deepEqual(
    late.pass(1).map(({ port }) => port),
    [0, 0],
  );
});

test('a leave is followed by two specific queries to that port, a second apart, out of a slot full of 0xa5', (t) => {
  const domain = settled(2);
  for (const [join, leave, group, check] of [
    [v2Report('239.129.1.1'), v2Leave('239.129.1.1'), '239.129.1.1', checkIgmpQuery],
    [mld1Report('ff15::7:8'), mld1Done('ff15::7:8'), 'ff15::7:8', checkMldQuery],
  ] as const) {
    domain.receive(2, join);
    domain.receive(2, leave);
    const response = group.includes(':') ? 1000 : 10;
    for (let i = 0; i < 2; i++) {
      const sent = domain.pass(1);
      t.deepEqual(
        sent.map(({ port }) => port),
        [2],
      );
      check(t, sent[0].frame, group, response);
    }
    t.deepEqual(domain.pass(5), []);
  }
});

test('many leaves at once: a bounded number of queries a tick, and all of them in the end', (t) => {
  const domain = settled(1);
  for (let i = 0; i < 150; i++) domain.receive(1, v2Report(`239.1.1.${i}`));
  for (let i = 0; i < 150; i++) domain.receive(1, v2Leave(`239.1.1.${i}`));
  const counts = [1, 2, 3, 4, 5, 6, 7, 8].map(() => domain.pass(1).length);
  t.true(Math.max(...counts) <= 64);
  const total = counts.reduce((sum, count) => sum + count, 0);
  t.true(total >= 150 && total <= 300, `${total} queries`);
  t.is(domain.snooping.groups, 0);
});

test('IGMP: any querier with a source of its own is left to it, for 255 s; one without is not', (t) => {
  const domain = settled(2);
  domain.receive(1, v2Query({ from: '0.0.0.0' }));
  t.is(generalQueries(domain, 250, isIgmp).length, 2);
  for (const query of [v2Query({ from: '255.255.255.254' }), v3Query({ from: '255.255.255.254' })]) {
    domain.receive(1, query);
    t.deepEqual(generalQueries(domain, 380, isIgmp), [255, 380]);
  }
});

test('IGMP silence does not silence MLD, nor the other way round', (t) => {
  const domain = settled(2);
  domain.receive(1, v3Query());
  t.is(generalQueries(domain, 250, (sent) => !isIgmp(sent)).length, 2);
  const other = settled(2);
  other.receive(1, mld2Query());
  t.is(generalQueries(other, 250, isIgmp).length, 2);
  const third = settled(2);
  third.receive(1, mld1Query());
  t.deepEqual(
    generalQueries(third, 254, (sent) => !isIgmp(sent)),
    [],
  );
  t.is(generalQueries(third, 1, (sent) => !isIgmp(sent)).length, 1);
});

test('MLD: the lower address asks, so that of two switches one does', (t) => {
  const domain = settled(2);
  for (const higher of ['fe80::feff:200:5e10:2031', 'fe80::ffff:0:0:1', 'fe80:0:0:1::1']) {
    domain.receive(1, mld2Query({ from: higher }));
  }
  domain.receive(1, mld2Query({ from: 'fe80::feff:200:5e10:2030' }));
  t.is(generalQueries(domain, 125, (sent) => !isIgmp(sent)).length, 1, 'ours is lower, or the same');
  domain.receive(1, mld2Query({ from: 'fe80::feff:200:5e10:202f' }));
  t.deepEqual(
    generalQueries(domain, 254, (sent) => !isIgmp(sent)),
    [],
  );
});

test('specific queries elect nobody', (t) => {
  const domain = settled(2);
  domain.receive(1, v3Query({ group: '239.1.1.1' }));
  domain.receive(1, mld2Query({ group: 'ff15::7' }));
  t.is(generalQueries(domain, 130, isIgmp).length, 1);
});

test('a leave is left to the elected querier; a new port is asked all the same', (t) => {
  const domain = settled(3);
  domain.receive(1, v3Query());
  domain.receive(2, v2Report('239.1.1.1'));
  t.deepEqual(domain.receive(2, v2Leave('239.1.1.1')), [1]);
  t.deepEqual(domain.pass(10), []);
  t.deepEqual(domain.list(), ['239.1.1.1 2 250', 'router 1 245']);
  domain.snooping.addPort(9, ROUTER_AUTO, true);
  t.deepEqual(
    domain.pass(2).map(({ port }) => port),
    [9, 9],
  );
});

test('what the elected querier says of its timers holds for reports: robustness × interval + response', (t) => {
  const cases: [Uint8Array, number][] = [
    [v2Query({ response: 100 }), 2 * 125 + 10],
    [v2Query({ response: 0 }), 260],
    [v3Query({ flags: 3, interval: 60, response: 50 }), 3 * 60 + 5],
    [v3Query({ flags: 0, interval: 0 }), 260],
    [v3Query({ flags: 1, interval: 20 }), 2 * 20 + 10],
    [v3Query({ flags: 7, interval: 0x8f }), 7 * 248 + 10],
    [v3Query({ flags: 2, interval: 1 }), 260],
    [v3Query({ flags: 2, interval: 0xff }), 260],
    [v3Query({ flags: 2, interval: 100, response: 0xff }), 2 * 100 + 100],
  ];
  for (const [query, expected] of cases) {
    const domain = settled(2);
    domain.receive(1, query);
    domain.receive(2, v2Report('239.1.1.1'));
    t.true(domain.list().includes(`239.1.1.1 2 ${expected}`), `${expected}: ${domain.list()}`);
  }
  const domain = settled(2);
  domain.receive(1, mld2Query({ flags: 3, interval: 60, response: 5000 }));
  domain.receive(2, mld1Report('ff15::7'));
  t.true(domain.list().includes('ff15::7 2 185'));
});

test('of several queriers the lowest counts; the timers are the defaults again once it is silent', (t) => {
  const domain = settled(3);
  domain.receive(1, v3Query({ from: '172.30.0.2', interval: 50 }));
  domain.receive(3, v3Query({ from: '172.30.0.9', interval: 90 }));
  domain.receive(2, v2Report('239.1.1.1'));
  t.true(domain.list().includes('239.1.1.1 2 110'));
  domain.receive(3, v3Query({ from: '172.30.0.1', interval: 90 }));
  domain.receive(2, v2Report('239.1.1.1'));
  t.true(domain.list().includes('239.1.1.1 2 190'));
  domain.pass(186);
  domain.receive(2, v2Report('239.1.1.1'));
  t.true(domain.list().includes('239.1.1.1 2 260'));
});

test('a query of a length that no version has elects nobody', (t) => {
  const domain = settled(2);
  for (const length of [9, 10, 11]) {
    const body = [0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0].slice(0, length);
    t.is(domain.receive(1, igmp('224.0.0.1', body, { from: '172.30.0.1' })), 'snooped');
  }
  t.is(domain.snooping.malformed, 3);
  t.is(domain.snooping.queries, 0);
});
