/** Clients that keep their backend. */

import test from 'ava';
import { AFFINITY_CLIENTS, Affinity } from '../../../core/lb/affinity.js';
import { COUNT_FLOWS, SCHEDULER_WRR } from '../../../core/lb/service.js';
import { createRandom, rerunLine, seedOfRun } from '../../support/corpus.js';
import { B, EXTERNAL, EXTERNAL6, OUTSIDE } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { tcp } from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { ServiceLab, type ServiceSpec } from './lab.js';

const AT = `${EXTERNAL}:8080`;
const AT6 = `[${EXTERNAL6}]:8080`;
const LISTEN = [
  { protocol: TCP, at: AT },
  { protocol: TCP, at: AT6 },
  { protocol: UDP, at: AT },
];
const ONE = { number: 1, addresses: ['10.2.0.13', 'fd00:2::13'], port: 80 };
const TWO = { number: 2, addresses: ['10.2.0.14', 'fd00:2::14'], port: 80 };
const SPEC: ServiceSpec = { affinity: 60, backends: [ONE, TWO] };
const FIRST = '10.2.0.13:80';
const SECOND = '10.2.0.14:80';
const JOE = '198.51.100.1';
const SUE = '198.51.100.2';

function labWith(spec: ServiceSpec = SPEC): ServiceLab {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, spec);
  return lab;
}

test('all flows of a client have one backend, of whatever port and protocol; those of others have their own', (t) => {
  const lab = labWith();
  for (let i = 0; i < 5; i++) {
    t.is(lab.place(`${JOE}:${1000 + i}`, AT), FIRST);
    t.is(lab.place(`${SUE}:${1000 + i}`, AT), SECOND);
  }
  t.is(lab.place(`${JOE}:1000`, AT, UDP), FIRST);
  t.is(lab.place('[2001:db8:1::1]:1000', AT6), '[fd00:2::13]:80');
  t.is(lab.place('[2001:db8:1::2]:1000', AT6), '[fd00:2::14]:80');
  t.is(lab.place('[2001:db8:1::1]:1001', AT6), '[fd00:2::13]:80');
  expectWhole(t, lab);
});

test('services know nothing of each other', (t) => {
  const lab = labWith();
  const other = { protocol: TCP, at: `${EXTERNAL}:9090` };
  const [three, four] = [ONE, TWO].map((backend) => ({ ...backend, number: backend.number + 2 }));
  lab.serve(2, [other], { ...SPEC, backends: [four, three] });
  t.is(lab.place(`${JOE}:1`, AT), FIRST);
  t.is(lab.place(`${JOE}:1`, other.at), SECOND);
  t.is(lab.place(`${JOE}:2`, AT), FIRST);
  t.is(lab.place(`${JOE}:2`, other.at), SECOND);
});

test('it lasts so many seconds behind the begin of the last flow', (t) => {
  const lab = labWith();
  t.is(lab.place(`${JOE}:1`, AT), FIRST);
  t.is(lab.place(`${SUE}:1`, AT), SECOND);
  lab.wait(59);
  t.is(lab.place(`${JOE}:2`, AT), FIRST);
  lab.wait(59);
  t.is(lab.place(`${JOE}:3`, AT), FIRST, 'refreshed');
  t.is(lab.place(`${SUE}:2`, AT), FIRST, "over for this one: rr's turn");
  lab.wait(60);
  t.is(lab.place(`${JOE}:4`, AT), SECOND);
  expectWhole(t, lab);
});

test('a client whose backend drains, is down or gone gets another, and keeps that one', (t) => {
  for (const [name, backends] of [
    ['drains', [{ ...ONE, weight: 0 }, TWO]],
    ['is down', [{ ...ONE, isDown: true }, TWO]],
    ['is gone', [TWO]],
    ['has another family', [{ ...ONE, addresses: ['fd00:2::13'] }, TWO]],
  ] as const) {
    const lab = labWith();
    t.is(lab.place(`${JOE}:1`, AT), FIRST);
    lab.serve(1, LISTEN, { ...SPEC, backends });
    t.is(lab.place(`${JOE}:2`, AT), SECOND, name);
    lab.serve(1, LISTEN, SPEC);
    for (let i = 3; i < 7; i++) t.is(lab.place(`${JOE}:${i}`, AT), SECOND, name);
  }
});

test('one whose backend is suspect gets another', (t) => {
  const lab = labWith({ ...SPEC, failures: 1 });
  t.is(lab.place(`${JOE}:1`, AT), FIRST);
  lab.give(B, tcp(FIRST, `${JOE}:1`, { flags: 'RA', acknowledgment: 1001 }));
  t.deepEqual(lab.news(), ['suspect 1']);
  for (let i = 2; i < 6; i++) t.is(lab.place(`${JOE}:${i}`, AT), SECOND);
});

test('a change of weights or of other backends moves no client', (t) => {
  const lab = labWith({ ...SPEC, scheduler: SCHEDULER_WRR });
  t.is(lab.place(`${JOE}:1`, AT), FIRST);
  const three = { number: 3, addresses: ['10.1.0.11'], port: 80, weight: 500 };
  lab.serve(1, LISTEN, { ...SPEC, scheduler: SCHEDULER_WRR, backends: [three, { ...TWO, weight: 100 }, ONE] });
  for (let i = 2; i < 6; i++) t.is(lab.place(`${JOE}:${i}`, AT), FIRST);
});

test('without affinity from now on, what was kept does not count', (t) => {
  const lab = labWith();
  t.is(lab.place(`${JOE}:1`, AT), FIRST);
  lab.serve(1, LISTEN, { ...SPEC, affinity: 0 });
  t.deepEqual([lab.place(`${JOE}:2`, AT), lab.place(`${JOE}:3`, AT)], [SECOND, FIRST]);
});

test('a segment of no connection begins no affinity', (t) => {
  const lab = labWith();
  t.regex(lab.say(OUTSIDE, tcp(`${JOE}:1`, AT, { flags: 'A', acknowledgment: 5 })), /tcp R .*dropped no_flow/);
  t.is(lab.place(`${SUE}:1`, AT), FIRST);
  t.is(lab.count(1, COUNT_FLOWS), 1);
});

// --- the table

const client = (i: number): Int32Array => Int32Array.of(0, 0, 0xffff, i);

test('the table has many clients at once; where it is full, whoever would end soonest goes, and is counted', (t) => {
  const seed = seedOfRun();
  const rerun = rerunLine(seed, 'dist/test/core/lb/affinity.test.js');
  const table = new Affinity(seed);
  t.is(table.find(1, client(1), 0), 0);
  const few = AFFINITY_CLIENTS / 16;
  for (let i = 0; i < few; i++) table.keep(1, client(i), 1 + (i % 100), 0, 1000 + i);
  let lost = 0;
  for (let i = 0; i < few; i++) {
    const backend = table.find(1, client(i), 999);
    if (backend === 0) lost++;
    else t.is(backend, 1 + (i % 100), rerun);
  }
  t.is(lost, table.evicted, rerun);
  // Five in one place of four: some 0.7 in a million of the places, of 16,384.
  t.true(lost < 20, `${lost} of ${few}; ${rerun}`);
  for (let i = few; i < 4 * AFFINITY_CLIENTS; i++) table.keep(1, client(i), 7, 0, 100_000 + i);
  t.is(table.evicted, 4 * AFFINITY_CLIENTS - stored(table, 4 * AFFINITY_CLIENTS, 0), rerun);
  t.true(table.evicted >= 3 * AFFINITY_CLIENTS, rerun);
  // Those of before would have ended soonest: they stay only where fewer than four others have come.
  t.true(stored(table, few, 0) < few / 20, rerun);
});

function stored(table: Affinity, clients: number, now: number): number {
  let count = 0;
  for (let i = 0; i < clients; i++) if (table.find(1, client(i), now) !== 0) count++;
  return count;
}

test('those whose time is over make room, and nobody is counted for it', (t) => {
  const table = new Affinity(5);
  for (let i = 0; i < 2 * AFFINITY_CLIENTS; i++) table.keep(1, client(i), 1, 0, 10);
  const { evicted } = table;
  for (let i = 0; i < AFFINITY_CLIENTS / 16; i++) table.keep(1, client(1e6 + i), 2, 10, 20);
  t.is(table.evicted - evicted < 20, true, `${table.evicted - evicted}`);
  t.is(table.find(1, client(1e6 + 1), 10), 2);
});

test('any history of keeping and finding is that of a map, as long as nobody is put out', (t) => {
  const seed = seedOfRun();
  const rerun = rerunLine(seed, 'dist/test/core/lb/affinity.test.js');
  const random = createRandom(seed);
  const table = new Affinity(seed);
  const model = new Map<string, { backend: number; expires: number }>();
  let now = 0;
  for (let step = 0; step < 20_000; step++) {
    if (random(50) === 0) now += random(20);
    const service = 1 + random(3);
    const address = Int32Array.of(random(2), random(2), random(2), random(40));
    const key = `${service} ${address}`;
    const kept = model.get(key);
    const expected = kept === undefined || kept.expires <= now ? 0 : kept.backend;
    if (table.find(service, address, now) !== expected) return t.fail(`${key} in step ${step}; ${rerun}`);
    if (random(2) === 0) continue;
    const backend = 1 + random(5);
    const expires = now + 1 + random(30);
    table.keep(service, address, backend, now, expires);
    model.set(key, { backend, expires });
  }
  t.is(table.evicted, 0, rerun);
});
