/** Who reaches a service from where, as whom its backends see him, and what he hears when there is none. */

import test from 'ava';
import { COUNT_BYTES_IN, COUNT_BYTES_OUT, COUNT_PACKETS_IN, COUNT_PACKETS_OUT } from '../../../core/lb/service.js';
import { POLICY_ACCEPT, POLICY_DROP, POLICY_REJECT } from '../../../core/nat/policy.js';
import { Connection, type Host } from '../nat/connection.js';
import { A, A2, B, B2, C, EXTERNAL, EXTERNAL6, OUTSIDE, type Station, THE_HOST } from '../nat/lab.js';
import { TCP, UDP } from '../nat/packets.js';
import {
  describe,
  echo,
  filler,
  fragments4,
  fragments6,
  icmp,
  ipOf,
  isQuoteWhole,
  read,
  tcp,
  textOf,
  udp,
  unreachable,
  withHops,
} from '../nat/wire.js';
import { expectWhole } from '../router/lab.js';
import { ServiceLab } from './lab.js';

const AT = `${EXTERNAL}:8080`;
const AT6 = `[${EXTERNAL6}]:8080`;
/** A virtual address: one more of network 2's own. */
const VIRTUAL = '10.2.0.1:8080';
const VIRTUAL6 = '[fd00:2::1]:8080';
const LISTEN = [TCP, UDP].flatMap((protocol) => [AT, AT6, VIRTUAL, VIRTUAL6].map((at) => ({ protocol, at })));
const ONE = { number: 1, addresses: ['10.2.0.13', 'fd00:2::13'], port: 80 };
const FAMILIES = [
  [4, AT, VIRTUAL],
  [6, AT6, VIRTUAL6],
] as const;

function labWith(): ServiceLab {
  const lab = new ServiceLab({ slots: 256 });
  lab.serve(1, LISTEN, { backends: [ONE] });
  return lab;
}

function host(station: Station, end: string, seen = end): Host {
  return { station, end, seen, port: station.port };
}

function endOfStation({ v4, v6 }: Station, family: number, port: number): string {
  return textOf(family === 4 ? v4 : v6, port);
}

/** A whole connection of a client to the backend at B. */
function converse(lab: ServiceLab, client: Host, at: string, family: number): void {
  const connection = new Connection(lab, client, at, host(B, endOfStation(B, family, 80), at));
  connection.open();
  connection.out({ data: 1000 });
  connection.in({ data: 1400 });
  connection.out({ flags: 'FA' });
  connection.in({ flags: 'FA' });
  connection.out({});
}

for (const [family, at, virtual] of FAMILIES) {
  test(`a client outside is seen as who he is, IPv${family}`, (t) => {
    const lab = labWith();
    converse(lab, host(OUTSIDE, family === 4 ? '198.51.100.1:5001' : '[2001:db8:1::1]:5001'), at, family);
    expectWhole(t, lab);
  });

  test(`a client in another network likewise, by the uplink's address and by one of the network's, IPv${family}`, (t) => {
    const lab = labWith();
    converse(lab, host(A, endOfStation(A, family, 5001)), at, family);
    converse(lab, host(C, endOfStation(C, family, 5002)), virtual, family);
    expectWhole(t, lab);
  });

  test(`a neighbor of the backend comes from the gateway, IPv${family}`, (t) => {
    const lab = labWith();
    const gateway = textOf(family === 4 ? '10.2.0.1' : 'fd00:2::1', 5001);
    converse(lab, host(B2, endOfStation(B2, family, 5001), gateway), at, family);
    lab.wait(241);
    converse(lab, host(B2, endOfStation(B2, family, 5001), gateway), virtual, family);
    lab.wait(241);
    t.deepEqual([lab.flows.table.count, lab.flows.mappings.count], [0, 0]);
    expectWhole(t, lab);
  });

  test(`a backend that calls its own service reaches itself, IPv${family}`, (t) => {
    const lab = labWith();
    const gateway = textOf(family === 4 ? '10.2.0.1' : 'fd00:2::1', 5001);
    converse(lab, host(B, endOfStation(B, family, 5001), gateway), at, family);
    lab.wait(241);
    converse(lab, host(B, endOfStation(B, family, 5001), gateway), virtual, family);
    expectWhole(t, lab);
  });

  test(`packets and bytes are counted, of what reaches the backend and what it answers, IPv${family}`, (t) => {
    const lab = labWith();
    const client = family === 4 ? '198.51.100.1:5001' : '[2001:db8:1::1]:5001';
    const backend = endOfStation(B, family, 80);
    const queries = [10, 1000, 0, 33].map((length) => udp(client, at, filler(length)));
    const answers = [500, 1].map((length) => udp(backend, client, filler(length)));
    for (const query of queries) lab.pass(OUTSIDE, query);
    for (const answer of answers) lab.pass(B, answer);
    const bytes = (packets: Uint8Array[]): number => packets.reduce((sum, packet) => sum + packet.length, 0);
    t.deepEqual(
      [COUNT_PACKETS_IN, COUNT_BYTES_IN, COUNT_PACKETS_OUT, COUNT_BYTES_OUT].map((counter) => lab.count(1, counter)),
      [4, bytes(queries), 2, bytes(answers)],
    );
    t.deepEqual(lab.flowCounts(1), [1, 1, 0]);
  });

  test(`no backend: RST, or ICMP, at once, IPv${family}`, (t) => {
    const lab = labWith();
    const clients = [
      [OUTSIDE, family === 4 ? '198.51.100.1' : '2001:db8:1::1'],
      [A, family === 4 ? A.v4 : A.v6],
      [B2, family === 4 ? B2.v4 : B2.v6],
    ] as const;
    for (const [name, backends] of [
      ['none at all', []],
      ['weight 0', [{ ...ONE, weight: 0 }]],
      ['down', [{ ...ONE, isDown: true }]],
      ['another family', [{ ...ONE, addresses: ONE.addresses.filter((one) => one.includes(':') === (family === 4)) }]],
    ] as const) {
      lab.serve(1, LISTEN, { backends });
      for (const [station, address] of clients) {
        const client = textOf(address, 5001);
        const syn = lab.say(station, tcp(client, at, { sequence: 41 }));
        t.is(syn, `${station.port} tcp RA ${at} > ${client} | dropped no_backend`, name);
        const error = family === 4 ? '3/3' : '1/4';
        const told = lab.say(station, udp(client, at));
        t.true(told.startsWith(`${station.port} icmp ${error} `), told);
        t.true(told.endsWith(` > ${address} [udp ${client} > ${at}] | dropped no_backend`), told);
      }
      lab.wait(1);
    }
    t.is(lab.flows.table.count, 0);
    expectWhole(t, lab);
  });

  test(`the address is pinged, whatever listens there, IPv${family}`, (t) => {
    const lab = labWith();
    for (const own of [at, virtual].map((one) => one.replace(/\[|\]|:8080/g, ''))) {
      const address = family === 4 ? A2.v4 : A2.v6;
      const query = echo(address, own, 7);
      const answer = `${A2.port} icmp ${family === 4 ? 0 : 129} ${textOf(own, 7)} > ${textOf(address, 7)}`;
      if (own === EXTERNAL || own === EXTERNAL6) t.true(lab.say(A2, query).startsWith(answer), own);
    }
    const outside = family === 4 ? '198.51.100.1' : '2001:db8:1::1';
    const own = family === 4 ? EXTERNAL : EXTERNAL6;
    t.regex(lab.say(OUTSIDE, echo(outside, own, 7)), /^6 icmp (0|129) /);
    expectWhole(t, lab);
  });

  test(`TTL 1 is answered, and begins nothing, IPv${family}`, (t) => {
    const lab = labWith();
    const client = family === 4 ? '198.51.100.1:5001' : '[2001:db8:1::1]:5001';
    const told = lab.say(OUTSIDE, withHops(tcp(client, at), 1));
    t.true(told.includes(`[tcp S ${client} > ${at}] | dropped ttl_exceeded`), told);
    t.deepEqual([lab.flows.table.count, lab.flowCounts(1)], [0, [0, 0, 0]]);
    lab.pass(OUTSIDE, tcp(client, at));
    t.true(lab.say(OUTSIDE, withHops(tcp(client, at), 1)).endsWith('dropped ttl_exceeded'));
    expectWhole(t, lab);
  });

  test(`UDP in fragments is put together, and reaches one backend, IPv${family}`, (t) => {
    const lab = labWith();
    const client = family === 4 ? '198.51.100.1:5001' : '[2001:db8:1::1]:5001';
    const whole = udp(client, at, filler(1300));
    const pieces = family === 4 ? fragments4(whole, 600) : fragments6(whole, 600);
    for (const piece of pieces.slice(0, -1)) t.is(lab.say(OUTSIDE, piece), 'held');
    const sent = lab.give(OUTSIDE, pieces[pieces.length - 1]);
    // IPv6 leaves in fragments, as it came in: nobody on the way may send it whole.
    t.is(sent.length, family === 4 ? 1 : 2);
    t.true(sent.every(({ port }) => port === B.port));
    const seen = sent.map(({ frame }) => read(ipOf(frame)));
    t.is(describe(seen[0]), `udp ${client} > ${endOfStation(B, family, 80)}`);
    const [{ payload }, ...rest] = seen;
    t.is(Buffer.compare(Buffer.concat([payload, ...rest.map(({ bytes }) => bytes.subarray(48))]), filler(1300)), 0);
    t.is(lab.pass(B, udp(endOfStation(B, family, 80), client)).sourcePort, 8080);
    t.deepEqual(lab.flowCounts(1), [1, 1, 0]);
    expectWhole(t, lab);
  });

  test(`ICMP errors about balanced flows go both ways, and tell each what it has sent, IPv${family}`, (t) => {
    const lab = labWith();
    const client = family === 4 ? '198.51.100.1:5001' : '[2001:db8:1::1]:5001';
    const clientAddress = family === 4 ? '198.51.100.1' : '2001:db8:1::1';
    const backend = endOfStation(B, family, 80);
    const backendAddress = family === 4 ? B.v4 : B.v6;
    const query = lab.pass(OUTSIDE, udp(client, at));
    const back = lab.give(B, unreachable(backendAddress, clientAddress, query.bytes));
    const toClient = read(ipOf(back[0].frame));
    t.true(describe(toClient).endsWith(`> ${clientAddress} [udp ${client} > ${at}]`), describe(toClient));
    t.true(isQuoteWhole(toClient.payload));
    const answer = lab.pass(B, udp(backend, client));
    const on = lab.give(OUTSIDE, unreachable(clientAddress, at.replace(/\[|\]|:8080/g, ''), answer.bytes));
    const toBackend = read(ipOf(on[0].frame));
    t.is(on[0].port, B.port);
    t.true(describe(toBackend).endsWith(`> ${backendAddress} [udp ${backend} > ${client}]`), describe(toBackend));
    t.true(isQuoteWhole(toBackend.payload));
    // A router on the client's way says that packets are too big.
    const far = family === 4 ? '192.0.2.9' : '2001:db8:77::9';
    const big = icmp(
      far,
      at.replace(/\[|\]|:8080/g, ''),
      family === 4 ? 3 : 2,
      family === 4 ? 4 : 0,
      1300,
      answer.bytes,
    );
    t.true(lab.say(OUTSIDE, big).includes(`> ${backendAddress} [udp ${backend} > ${client}]`));
    expectWhole(t, lab);
  });
}

test("the host's own processes come from the gateway", (t) => {
  const lab = new ServiceLab({ interfaces: { 2: { hostAccess: true } } });
  lab.resolve(THE_HOST, '10.2.0.1');
  lab.serve(1, LISTEN, { backends: [ONE] });
  converse(lab, host(THE_HOST, '10.2.0.1:5001'), AT, 4);
  expectWhole(t, lab);
});

test('the host reaches a service whose network is closed to it otherwise', (t) => {
  const lab = labWith();
  t.regex(lab.say(THE_HOST, tcp('10.1.0.1:5001', '10.2.0.13:80')), /dropped host_access$/);
  t.regex(lab.say(THE_HOST, tcp('10.1.0.1:5002', AT)), /^3 tcp S 10\.2\.0\.1:5002 > 10\.2\.0\.13:80$/);
});

test('one client port at two listeners that lead to one place are two connections', (t) => {
  const lab = new ServiceLab();
  const other = { protocol: TCP, at: `${EXTERNAL}:9090` };
  lab.serve(1, [{ protocol: TCP, at: AT }, other], { backends: [ONE] });
  const client = '198.51.100.1:5001';
  t.is(lab.say(OUTSIDE, tcp(client, AT)), `3 tcp S ${client} > 10.2.0.13:80`);
  const second = lab.pass(OUTSIDE, tcp(client, other.at));
  t.is(textOf(second.destination, second.destinationPort), '10.2.0.13:80');
  const seen = textOf(second.source, second.sourcePort);
  t.not(seen, client);
  t.is(lab.say(B, tcp('10.2.0.13:80', client, { flags: 'SA', acknowledgment: 1001 })), `6 tcp SA ${AT} > ${client}`);
  t.is(
    lab.say(B, tcp('10.2.0.13:80', seen, { flags: 'SA', acknowledgment: 1001 })),
    `6 tcp SA ${other.at} > ${client}`,
  );
  t.deepEqual(lab.flowCounts(1), [2, 0, 2]);
  expectWhole(t, lab);
});

test('ranges, several ports and unbound listeners of one service', (t) => {
  const lab = new ServiceLab();
  const listen = [
    { protocol: TCP, at: `${EXTERNAL}:6000`, last: 6010 },
    { protocol: TCP, at: `${EXTERNAL}:80` },
    { protocol: UDP, at: '0.0.0.0:53' },
    { protocol: UDP, at: '[::]:53' },
  ];
  lab.serve(1, listen, { backends: [{ ...ONE, port: 1000 }] });
  const client = '198.51.100.1:5001';
  for (const [at, port] of [
    [`${EXTERNAL}:6000`, 1000],
    [`${EXTERNAL}:6001`, 1001],
    [`${EXTERNAL}:6010`, 1010],
    [`${EXTERNAL}:80`, 1000],
  ] as const) {
    t.is(lab.place(client.replace('5001', `${port + at.length}`), at), `10.2.0.13:${port}`);
  }
  t.not(lab.say(OUTSIDE, tcp(client, `${EXTERNAL}:6011`)), `3 tcp S ${client} > 10.2.0.13:1011`);
  [`${EXTERNAL}:53`, '10.1.0.1:53', '10.3.0.1:53'].forEach((at, i) => {
    t.is(lab.place(`10.1.0.11:${7 + i}`, at, UDP, A), '10.2.0.13:1000');
  });
  t.is(lab.place('[fd00:1::11]:7', '[fd00:1::1]:53', UDP, A), '[fd00:2::13]:1000');
});

test('policy: rules see who asks, whom, and by which port; what they say now holds for connections that there are', (t) => {
  for (const [family, at] of FAMILIES) {
    const lab = labWith();
    const client = family === 4 ? '198.51.100.1:5001' : '[2001:db8:1::1]:5001';
    const backend = endOfStation(B, family, 80);
    const answer = `${OUTSIDE.port} udp ${at} > ${client}`;
    t.is(lab.place(client, at, UDP), backend);
    lab.rules({ action: POLICY_DROP, toIface: 2, protocol: UDP, port: 80 });
    t.is(lab.say(OUTSIDE, udp(client, at)), 'dropped policy');
    t.is(lab.say(B, udp(backend, client)), 'dropped policy');
    t.is(lab.say(OUTSIDE, udp(client.replace('5001', '5002'), at)), 'dropped policy', 'a new one');
    lab.rules({ action: POLICY_ACCEPT, to: family === 4 ? '10.2.0.13/32' : 'fd00:2::13/128' }, { action: POLICY_DROP });
    t.is(lab.place(client, at, UDP), backend);
    t.is(lab.say(B, udp(backend, client)), answer);
    lab.rules({ action: POLICY_REJECT, from: family === 4 ? '198.51.100.0/24' : '2001:db8:1::/64' });
    t.regex(lab.say(OUTSIDE, tcp(client, at)), /tcp RA .* \| dropped policy$/);
    t.is(lab.place(family === 4 ? '198.51.99.1:5' : '[2001:db8:2::1]:5', at), backend);
    lab.rules();
    t.is(lab.place(client, at, UDP), backend);
    t.deepEqual(lab.flowCounts(1)[0], 2);
    expectWhole(t, lab);
  }
});

test('a service in front of endpoints of two networks', (t) => {
  const lab = new ServiceLab();
  lab.serve(1, LISTEN, { backends: [ONE, { number: 2, addresses: [A.v4], port: 80 }] });
  t.is(lab.place('198.51.100.1:1', AT), '10.2.0.13:80');
  t.is(lab.place('198.51.100.1:2', AT), '10.1.0.11:80');
  t.is(lab.place(`${A2.v4}:3`, AT, TCP, A2), '10.2.0.13:80');
  const near = lab.pass(A2, tcp(`${A2.v4}:4`, AT));
  t.deepEqual([near.source, near.destination], ['10.1.0.1', '10.1.0.11']);
});

/** What is counted of a backend's flows is what the table holds. */
function isCounted(lab: ServiceLab, ...backends: number[]): boolean {
  return backends.every((number) => {
    const { active, inactive } = lab.countFlows(number);
    const [, ...counted] = lab.flowCounts(number);
    return counted.join() === [active, inactive].join();
  });
}

test('a full table makes room by half-open flows, which are counted no more; established ones stay', (t) => {
  const lab = new ServiceLab({ capacity: 64 });
  lab.serve(1, LISTEN, { backends: [ONE, { number: 2, addresses: ['10.2.0.14'], port: 80 }] });
  const connection = new Connection(lab, host(OUTSIDE, '198.51.100.1:1'), AT, host(B, '10.2.0.13:80', AT));
  connection.open();
  for (let port = 1000; port < 1300; port++) lab.give(OUTSIDE, tcp(`198.51.100.2:${port}`, AT));
  t.is(lab.flows.table.count, 64);
  t.true(isCounted(lab, 1, 2));
  t.is(lab.flowCounts(1)[0] + lab.flowCounts(2)[0], 301);
  connection.out({ data: 10 });
  connection.in({ data: 10 });
  t.is(lab.countFlows(1).active, 1);
  expectWhole(t, lab);
});

test('a client that has as many flows as it may have gets no more, and nothing is counted', (t) => {
  const lab = new ServiceLab({ nat: { flowsPerEndpoint: 5 } });
  lab.serve(1, LISTEN, { backends: [ONE] });
  for (let port = 1000; port < 1005; port++) lab.pass(A, tcp(`${A.v4}:${port}`, AT));
  t.regex(lab.say(A, tcp(`${A.v4}:1005`, AT)), /icmp 3\/13 .* \| dropped flow_limit$/);
  t.deepEqual(lab.flowCounts(1), [5, 0, 5]);
  t.true(isCounted(lab, 1));
});

test('flows of a client end with its port, and are counted no more', (t) => {
  const lab = labWith();
  for (let port = 1000; port < 1005; port++) lab.pass(A, tcp(`${A.v4}:${port}`, AT));
  lab.pass(C, udp(`${C.v4}:1000`, AT));
  lab.detach(A);
  t.deepEqual(lab.flowCounts(1), [6, 0, 1]);
  t.true(isCounted(lab, 1));
  expectWhole(t, lab);
});

test('a client behind masquerading is seen by a backend as who he is, and by servers outside as the router', (t) => {
  const lab = labWith();
  const toService = lab.pass(A, udp(`${A.v4}:5000`, AT));
  const toWorld = lab.pass(A, udp(`${A.v4}:5000`, '198.51.100.1:53'));
  t.deepEqual([toService.source, toWorld.source], [A.v4, EXTERNAL]);
});
