/** More new flows than a service notes: they go on by hash, there and back, and leave no trace. */

import test from 'ava';
import { COUNT_FLOWS, SCHEDULER_MAGLEV } from '../../../core/lb/service.js';
import { POLICY_DROP } from '../../../core/nat/policy.js';
import { Connection } from '../nat/connection.js';
import { A, B, EXTERNAL, EXTERNAL6, OUTSIDE, UPLINK } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import { ACK, describe, RST, read, type Seen, SYN, tcp, textOf, udp, withHops } from '../nat/wire.js';
import { expectWhole, word4, words6 } from '../router/lab.js';
import { type ListenSpec, ServiceLab, type ServiceSpec } from './lab.js';

const AT = `${EXTERNAL}:8080`;
const AT6 = `[${EXTERNAL6}]:8080`;
const RATE = 10;
/** All at one endpoint, so that one station answers. */
const BACKENDS = [1, 2, 3, 4].map((number) => ({
  number,
  addresses: ['10.2.0.13', 'fd00:2::13'],
  port: 80 + number,
}));

function labWith(
  listen: readonly ListenSpec[] = [{ protocol: TCP, at: AT }],
  spec: Partial<ServiceSpec> = {},
): ServiceLab {
  const lab = new ServiceLab();
  lab.serve(1, listen, { backends: BACKENDS, floodRate: RATE, failures: 0, ...spec });
  return lab;
}

/** As many SYNs in this second as are noted. */
function fill(lab: ServiceLab, at = AT, port = 7): void {
  for (let i = 0; i < RATE; i++) {
    lab.give(OUTSIDE, at === AT6 ? tcp(`[2001:db8:9::${i}]:${port}`, at) : tcp(`192.0.2.${i}:${port}`, at));
  }
}

function endsOf(seen: Seen): string {
  return `${textOf(seen.source, seen.sourcePort)} > ${textOf(seen.destination, seen.destinationPort)}`;
}

for (const [family, client, at, listen] of [
  [4, '198.51.100.1:5000', AT, AT],
  [6, '[2001:db8:1::1]:5000', AT6, AT6],
  // The uplink has one address of each family.
  ['4, unbound', '198.51.100.1:5000', AT, '0.0.0.0:8080'],
  ['6, unbound', '[2001:db8:1::1]:5000', AT6, '[::]:8080'],
] as const) {
  test(`above the rate packets go to the backend and back, and no flow is made, IPv${family}`, (t) => {
    const lab = labWith([{ protocol: TCP, at: listen }]);
    fill(lab, at);
    t.deepEqual([lab.flows.table.count, lab.news()], [RATE, []]);
    const counted = BACKENDS.map(({ number }) => lab.count(number, COUNT_FLOWS));
    const syn = lab.pass(OUTSIDE, tcp(client, at));
    const backend = textOf(syn.destination, syn.destinationPort);
    t.is(endsOf(syn), `${client} > ${backend}`);
    t.is(syn.hops, read(tcp(client, at)).hops - 1);
    t.deepEqual([lab.flows.table.count, lab.news()], [RATE, ['flood 1']]);
    const answer = lab.pass(B, tcp(backend, client, { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
    t.is(endsOf(answer), `${at} > ${client}`);
    t.deepEqual([answer.port, answer.flags], [OUTSIDE.port, SYN | ACK]);
    for (const data of [0, 1, 1400]) {
      const fields = { flags: 'A', sequence: 1001, acknowledgment: 9001, data: new Uint8Array(data).fill(7) };
      const segment = lab.pass(OUTSIDE, tcp(client, at, fields));
      t.is(endsOf(segment), `${client} > ${backend}`);
      t.deepEqual(Buffer.compare(segment.payload, fields.data), 0);
    }
    t.is(lab.flows.table.count, RATE);
    t.deepEqual(
      BACKENDS.map(({ number }) => lab.count(number, COUNT_FLOWS)),
      counted,
    );
    expectWhole(t, lab);
  });

  test(`a connection that began in a flood goes on after it, noted from then on, IPv${family}`, (t) => {
    const lab = labWith([{ protocol: TCP, at: listen }]);
    fill(lab, at);
    const syn = lab.pass(OUTSIDE, tcp(client, at, { sequence: 1000 }));
    const backend = textOf(syn.destination, syn.destinationPort);
    lab.pass(B, tcp(backend, client, { flags: 'SA', sequence: 9000, acknowledgment: 1001 }));
    lab.wait(1);
    const segment = { flags: 'A', sequence: 1001, acknowledgment: 9001, data: new Uint8Array(100) };
    t.is(endsOf(lab.pass(OUTSIDE, tcp(client, at, segment))), `${client} > ${backend}`);
    t.is(lab.flows.table.count, RATE + 1);
    t.is(lab.flowCounts(syn.destinationPort - 80)[1], 0);
    const reply = { flags: 'A', sequence: 9001, acknowledgment: 1101, data: new Uint8Array(100) };
    t.is(endsOf(lab.pass(B, tcp(backend, client, reply))), `${at} > ${client}`);
    t.deepEqual(lab.countFlows(syn.destinationPort - 80).active, 1);
    expectWhole(t, lab);
  });
}

test('one that was silent for two minutes behind the flood is known still; the backend may speak first', (t) => {
  const lab = labWith();
  fill(lab);
  const client = '198.51.100.1:5000';
  const syn = lab.pass(OUTSIDE, tcp(client, AT));
  const backend = textOf(syn.destination, syn.destinationPort);
  lab.wait(120);
  const said = lab.pass(B, tcp(backend, client, { flags: 'PA', sequence: 9001, acknowledgment: 1001 }));
  t.is(endsOf(said), `${AT} > ${client}`);
  t.is(
    endsOf(lab.pass(OUTSIDE, tcp(client, AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 }))),
    `${client} > ${backend}`,
  );
  expectWhole(t, lab);
});

test('behind the aftermath a service of turns knows no more connections without a flow', (t) => {
  const lab = labWith();
  fill(lab);
  lab.pass(OUTSIDE, tcp('198.51.100.1:5000', AT));
  lab.wait(131);
  const segment = tcp('198.51.100.1:5000', AT, { flags: 'A', sequence: 1001, acknowledgment: 9001 });
  t.is(lab.say(OUTSIDE, segment), `${OUTSIDE.port} tcp R ${AT} > 198.51.100.1:5000 | dropped no_flow`);
  const answer = tcp('10.2.0.13:81', '198.51.100.1:5000', { flags: 'A', sequence: 1, acknowledgment: 2 });
  t.is(lab.say(B, answer), `${B.port} tcp R 198.51.100.1:5000 > 10.2.0.13:81 | dropped no_flow`);
  expectWhole(t, lab);
});

test('begin and end are told once, however long it lasts', (t) => {
  const lab = labWith();
  for (let second = 0; second < 5; second++) {
    fill(lab, AT, 100 + second);
    lab.give(OUTSIDE, tcp('198.51.100.1:5000', AT));
    lab.give(OUTSIDE, tcp('198.51.100.2:5000', AT));
    t.deepEqual(lab.news(), second === 0 ? ['flood 1'] : []);
    lab.wait(1);
  }
  lab.wait(1);
  t.deepEqual(lab.news(), []);
  lab.wait(1);
  t.deepEqual(lab.news(), ['flood over 1']);
  lab.wait(200);
  t.deepEqual(lab.news(), []);
  fill(lab, AT, 200);
  lab.give(OUTSIDE, tcp('198.51.100.1:5000', AT));
  t.deepEqual(lab.news(), ['flood 1'], 'and the next one again');
});

test('flows of before go on as they were', (t) => {
  const lab = labWith();
  const client = { station: OUTSIDE, end: '198.51.100.9:5000', seen: '198.51.100.9:5000', port: OUTSIDE.port };
  const connection = new Connection(lab, client, AT, { station: B, end: '10.2.0.13:81', seen: AT, port: B.port });
  connection.open();
  fill(lab);
  for (let i = 0; i < 50; i++) {
    lab.give(OUTSIDE, tcp(`198.51.100.1:${5000 + i}`, AT));
    connection.out({ data: 100 });
    connection.in({ data: 100 });
  }
  t.deepEqual(lab.countFlows(1).active, 1);
  t.is(lab.flows.table.count, RATE);
  expectWhole(t, lab);
});

test('other services note theirs meanwhile', (t) => {
  const lab = labWith();
  lab.serve(2, [{ protocol: TCP, at: `${EXTERNAL}:9090` }], { backends: [{ ...BACKENDS[0], number: 9, port: 99 }] });
  fill(lab);
  lab.give(OUTSIDE, tcp('198.51.100.1:5000', AT));
  for (let i = 0; i < 20; i++) lab.give(OUTSIDE, tcp(`198.51.100.1:${6000 + i}`, `${EXTERNAL}:9090`));
  t.deepEqual(lab.flowCounts(9), [20, 0, 20]);
  t.deepEqual(lab.news(), ['flood 1']);
});

test('the end of a connection in a flood: FIN and RST of both sides pass', (t) => {
  const lab = labWith();
  fill(lab);
  const client = '198.51.100.1:5000';
  const syn = lab.pass(OUTSIDE, tcp(client, AT));
  const backend = textOf(syn.destination, syn.destinationPort);
  lab.pass(OUTSIDE, tcp(client, AT, { flags: 'FA', sequence: 1001, acknowledgment: 9001 }));
  const reset = lab.pass(B, tcp(backend, client, { flags: 'RA', sequence: 9001, acknowledgment: 1002 }));
  t.deepEqual([endsOf(reset), reset.flags], [`${AT} > ${client}`, RST | ACK]);
  t.is(lab.flows.table.count, RATE);
  expectWhole(t, lab);
});

test('UDP of a flood is answered likewise', (t) => {
  const lab = labWith([{ protocol: UDP, at: `${EXTERNAL}:53` }]);
  for (let i = 0; i < RATE; i++) lab.give(OUTSIDE, udp(`192.0.2.${i}:7`, `${EXTERNAL}:53`));
  for (let i = 0; i < 20; i++) {
    const client = `198.51.100.${i}:5000`;
    const query = lab.pass(OUTSIDE, udp(client, `${EXTERNAL}:53`));
    const backend = textOf(query.destination, query.destinationPort);
    t.is(endsOf(lab.pass(B, udp(backend, client))), `${EXTERNAL}:53 > ${client}`);
  }
  t.is(lab.flows.table.count, RATE);
  expectWhole(t, lab);
});

test('a range of ports leads back to the port that was asked', (t) => {
  const at = `${EXTERNAL}:7000`;
  const lab = labWith([{ protocol: TCP, at, last: 7009 }], {
    backends: [{ number: 1, addresses: ['10.2.0.13'], port: 300 }],
  });
  fill(lab, at);
  for (let port = 7000; port < 7010; port++) {
    const client = `198.51.100.1:${port - 2000}`;
    const syn = lab.pass(OUTSIDE, tcp(client, `${EXTERNAL}:${port}`));
    t.is(syn.destinationPort, port - 6700);
    const answer = lab.pass(B, tcp(`10.2.0.13:${port - 6700}`, client, { flags: 'SA', acknowledgment: 1001 }));
    t.is(endsOf(answer), `${EXTERNAL}:${port} > ${client}`);
  }
  t.is(lab.flows.table.count, RATE);
  expectWhole(t, lab);
});

test('where answers could belong to several listeners, all flows are noted as usual', (t) => {
  const other6 = '2001:db8:ff:0:1::1';
  const otherZone6 = '2001:db8:ff::2';
  for (const [name, listen, at] of [
    [
      'two ports',
      [
        { protocol: TCP, at: AT },
        { protocol: TCP, at: `${EXTERNAL}:8081` },
      ],
      AT,
    ],
    [
      'two addresses',
      [
        { protocol: TCP, at: AT },
        { protocol: TCP, at: '203.0.113.2:8080' },
      ],
      AT,
    ],
    ['unbound, two addresses', [{ protocol: TCP, at: '0.0.0.0:8080' }], AT],
    ['unbound, three addresses of IPv6', [{ protocol: TCP, at: '[::]:8080' }], AT6],
    [
      'two of IPv6',
      [
        { protocol: TCP, at: AT6 },
        { protocol: TCP, at: `[${otherZone6}]:8080` },
      ],
      AT6,
    ],
    [
      'two of IPv6 that differ in the middle',
      [
        { protocol: TCP, at: AT6 },
        { protocol: TCP, at: `[${other6}]:8080` },
      ],
      AT6,
    ],
  ] as const) {
    const addresses4 = Int32Array.of(...[EXTERNAL, '203.0.113.2'].flatMap((one) => [word4(one), 0xffffff00 | 0]));
    const addresses6 = Int32Array.of(...[EXTERNAL6, otherZone6, other6].flatMap((one) => [...words6(one), 64]));
    const lab = new ServiceLab({ interfaces: { [UPLINK]: { addresses4, addresses6 } } });
    lab.serve(1, listen, { backends: BACKENDS, floodRate: RATE });
    fill(lab, at);
    for (let i = 0; i < 20; i++) {
      const client = at === AT6 ? `[2001:db8:1::1]:${5000 + i}` : `198.51.100.1:${5000 + i}`;
      lab.pass(OUTSIDE, tcp(client, at));
    }
    t.is(lab.flows.table.count, RATE + 20, name);
    t.deepEqual(lab.news(), [], name);
    expectWhole(t, lab, name);
  }
});

test('the link of the host is no other listener: its processes are no flood', (t) => {
  for (const at of [AT, '0.0.0.0:8080']) {
    const lab = labWith([
      { protocol: TCP, at },
      { protocol: TCP, at: '192.0.2.7:20000' },
    ]);
    fill(lab);
    const client = '198.51.100.1:5000';
    const syn = lab.pass(OUTSIDE, tcp(client, AT));
    t.is(lab.flows.table.count, RATE, at);
    const answer = tcp(textOf(syn.destination, syn.destinationPort), client, { flags: 'SA' });
    t.is(endsOf(lab.pass(B, answer)), `${AT} > ${client}`);
    expectWhole(t, lab, at);
  }
});

test('a listener of each family and protocol is one answer each', (t) => {
  const lab = labWith([
    { protocol: TCP, at: AT },
    { protocol: TCP, at: AT6 },
    { protocol: UDP, at: AT },
  ]);
  fill(lab);
  t.is(lab.flows.table.count, RATE);
  lab.pass(OUTSIDE, tcp('198.51.100.1:5000', AT));
  lab.pass(OUTSIDE, tcp('[2001:db8:1::1]:5000', AT6));
  lab.pass(OUTSIDE, udp('198.51.100.1:5000', AT));
  t.is(lab.flows.table.count, RATE);
});

test('clients inside are no flood: their flows are noted', (t) => {
  const lab = labWith();
  fill(lab);
  for (let i = 0; i < 20; i++) lab.pass(A, tcp(`10.1.0.11:${5000 + i}`, AT));
  t.is(lab.flows.table.count, RATE + 20);
});

test('what the policy refuses is refused in a flood as well', (t) => {
  const lab = labWith();
  lab.rules({ action: POLICY_DROP, from: '198.51.100.0/25', toIface: 2 });
  fill(lab);
  t.is(lab.say(OUTSIDE, tcp('198.51.100.1:5000', AT)), 'dropped policy');
  t.regex(lab.say(OUTSIDE, tcp('198.51.100.200:5000', AT)), /tcp S 198.51.100.200:5000 > 10.2.0.13/);
  t.is(lab.flows.table.count, RATE);
});

test('without backends nobody is passed on, and the client is told', (t) => {
  const lab = labWith();
  fill(lab);
  lab.give(OUTSIDE, tcp('198.51.100.1:5000', AT));
  lab.serve(1, [{ protocol: TCP, at: AT }], { backends: [], floodRate: RATE });
  t.regex(lab.say(OUTSIDE, tcp('198.51.100.1:5001', AT)), /tcp RA .* \| dropped no_backend$/);
});

test('the last hop is answered as anywhere', (t) => {
  const lab = labWith();
  fill(lab);
  t.regex(
    lab.say(OUTSIDE, withHops(tcp('198.51.100.1:5000', AT), 1)),
    /icmp 11\/0 .*\[tcp S 198.51.100.1:5000 > 203.0.113.1:8080\]/,
  );
  expectWhole(t, lab);
});

test('a connection that a backend begins from the port that it serves is its own, in a flood too', (t) => {
  const lab = labWith();
  fill(lab);
  const syn = lab.pass(OUTSIDE, tcp('198.51.100.1:5000', AT));
  const own = lab.pass(B, tcp(`10.2.0.13:${syn.destinationPort}`, '198.51.100.77:80'));
  t.is(describe(own), `tcp S ${EXTERNAL}:${own.sourcePort} > 198.51.100.77:80`);
  t.not(own.sourcePort, 8080);
  t.is(lab.flows.table.count, RATE + 1);
});

test('rate 0 is no limit', (t) => {
  const lab = labWith([{ protocol: TCP, at: AT }], { floodRate: 0 });
  for (let i = 0; i < 300; i++) lab.give(OUTSIDE, tcp(`198.51.100.1:${5000 + i}`, AT));
  t.is(lab.flows.table.count, 300);
  t.deepEqual(lab.news(), []);
});

test('maglev: whom a flood finds has the backend that it would have anyway', (t) => {
  const lab = labWith([{ protocol: TCP, at: AT }], { scheduler: SCHEDULER_MAGLEV });
  const calm = labWith([{ protocol: TCP, at: AT }], { scheduler: SCHEDULER_MAGLEV, floodRate: 0 });
  for (let i = 0; i < 100; i++) {
    t.is(lab.place(`198.51.100.1:${5000 + i}`, AT), calm.place(`198.51.100.1:${5000 + i}`, AT));
  }
  t.is(lab.flows.table.count, RATE);
});

test('two services in front of one place, both flooded: each answer comes from the service that was asked', (t) => {
  const lab = new ServiceLab();
  const places = [53, 54].map((port) => `${EXTERNAL}:${port}`);
  places.forEach((at, i) => {
    const backends = [{ number: i + 1, addresses: ['10.2.0.13'], port: 5353 }];
    lab.serve(i + 1, [{ protocol: UDP, at }], { floodRate: 1, backends });
  });
  for (let i = 1; i < 20; i++) {
    const at = places[i % 2];
    const client = `198.51.100.${i}:7`;
    lab.pass(OUTSIDE, udp(client, at));
    t.is(endsOf(lab.pass(B, udp('10.2.0.13:5353', client))), `${at} > ${client}`);
  }
  t.deepEqual(lab.news(), ['flood 2', 'flood 1']);
  expectWhole(t, lab);
});

test('a range whose ports meet at one endpoint: each answer comes from the port that was asked', (t) => {
  const lab = new ServiceLab();
  const backends = [100, 101, 102].map((port, i) => ({ number: i + 1, addresses: ['10.2.0.13'], port }));
  lab.serve(1, [{ protocol: UDP, at: `${EXTERNAL}:53`, last: 55 }], { floodRate: 1, backends });
  for (let i = 1; i < 60; i++) {
    const at = `${EXTERNAL}:${53 + (i % 3)}`;
    const client = `198.51.100.${i}:7`;
    const { destinationPort } = lab.pass(OUTSIDE, udp(client, at));
    t.is(endsOf(lab.pass(B, udp(`10.2.0.13:${destinationPort}`, client))), `${at} > ${client}`);
  }
  expectWhole(t, lab);
});
