/** RFC 5508, address translation of ICMP, requirement by requirement. */

import test from 'ava';
import { FLOW_EXPIRES, STATE_ICMP_REPLIED, STATE_ICMP_UNREPLIED } from '../../../core/nat/flow.js';
import { DEFAULT_TIMEOUTS } from '../../../core/nat/flow-table.js';
import { FILTERING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { expectWhole } from '../router/lab.js';
import {
  A,
  A2,
  B,
  C,
  EXTERNAL,
  EXTERNAL6,
  MASQUERADE_BOTH,
  NatLab,
  OUTSIDE,
  SERVER,
  SERVER2,
  SERVER6,
  SERVER62,
} from './lab.js';
import { UDP } from './packets.js';
import {
  describe,
  echo,
  filler,
  icmp,
  isQuoteWhole,
  packet,
  readQuote,
  tcp,
  udp,
  unreachable,
  withHops,
} from './wire.js';

const INSIDE = '10.1.0.11:5000';
const FIRST = `${SERVER}:53`;

test('RFC 5508 REQ-1: queries pass from inside, and their answers back, however many have one identifier', (t) => {
  const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH, 2: MASQUERADE_BOTH } });
  const families = [
    { clients: ['10.1.0.11', '10.1.0.12', '10.2.0.13'], servers: [SERVER, SERVER2], outside: EXTERNAL },
    { clients: ['fd00:1::11', 'fd00:1::12', 'fd00:2::13'], servers: [SERVER6, SERVER62], outside: EXTERNAL6 },
  ];
  for (const { clients, servers, outside } of families) {
    const identifiers = new Set<number>();
    clients.forEach((client, i) => {
      const station = [A, A2, B][i];
      const mapped = servers.map((server) => lab.pass(station, echo(client, server, 7777)).sourcePort);
      t.is(mapped[0], mapped[1], 'one identifier, whatever it asks');
      identifiers.add(mapped[0]);
      for (const server of servers) {
        const answer = lab.pass(OUTSIDE, echo(server, outside, mapped[0], true));
        t.is(`${answer.destination} ${answer.sourcePort} at ${answer.port}`, `${client} 7777 at ${station.port}`);
      }
    });
    t.is(identifiers.size, 3);
    t.true(identifiers.has(7777), 'the first keeps its own');
  }
  expectWhole(t, lab);
});

test('RFC 5508 REQ-1: timestamps are queries as well', (t) => {
  const lab = new NatLab();
  const seen = lab.pass(A, icmp('10.1.0.11', SERVER, 13, 0, (5005 << 16) | 1, filler(12)));
  t.is(describe(seen), `icmp 13 ${EXTERNAL}:5005 > ${SERVER}:5005`);
  const answer = lab.pass(OUTSIDE, icmp(SERVER, EXTERNAL, 14, 0, (5005 << 16) | 1, filler(12)));
  t.is(describe(answer), `icmp 14 ${SERVER}:5005 > 10.1.0.11:5005`);
  expectWhole(t, lab);
});

test('RFC 5508 REQ-2: an answer may take a minute', (t) => {
  t.true(DEFAULT_TIMEOUTS[STATE_ICMP_UNREPLIED] >= 60);
  t.true(DEFAULT_TIMEOUTS[STATE_ICMP_REPLIED] >= 60);
  const lab = new NatLab();
  lab.say(A, echo('10.1.0.11', SERVER, 7007));
  lab.wait(59);
  t.is(lab.say(OUTSIDE, echo(SERVER, EXTERNAL, 7007, true)), `1 icmp 0 ${SERVER}:7007 > 10.1.0.11:7007`);
  lab.wait(61);
  t.regex(lab.say(OUTSIDE, echo(SERVER, EXTERNAL, 7007, true)), /dropped icmp_invalid$/);
  t.is(lab.flows.table.count, 0);
  expectWhole(t, lab);
});

test('RFC 5508 REQ-3: what an error quotes is looked at as it should be', (t) => {
  const lab = new NatLab();
  const mapped = lab.pass(A, udp(INSIDE, FIRST)).bytes;
  const heard = `1 icmp 3/1 ${SERVER} > 10.1.0.11 [udp ${INSIDE} > ${FIRST}]`;
  const about = (quoted: Uint8Array, rest = 0): Uint8Array => icmp(SERVER, EXTERNAL, 3, 1, rest, quoted);
  t.is(lab.say(OUTSIDE, about(mapped)), heard);

  const damaged = about(mapped);
  damaged[22] ^= 1;
  t.is(lab.say(OUTSIDE, damaged), 'dropped icmp_invalid', 'ICMP checksum');

  const wrongHeader = mapped.slice();
  wrongHeader[10] ^= 1;
  t.regex(lab.say(OUTSIDE, about(wrongHeader)), /dropped (icmp_invalid|ip_checksum)$/, 'quoted header checksum');

  const withOptions = packet(UDP, EXTERNAL, SERVER, mapped.slice(20), 8);
  t.is(lab.say(OUTSIDE, about(withOptions)), heard, 'options are stepped over');

  const wrongTransport = mapped.slice();
  wrongTransport[26] ^= 0x55;
  t.is(lab.say(OUTSIDE, about(wrongTransport)), heard, 'the quoted transport checksum is not looked at');

  // 128 octets of quote, and behind them an extension (RFC 4884, 7): a checksum over the whole must not cover the quote's length.
  const extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 42];
  const padded = new Uint8Array([...mapped, ...new Uint8Array(128 - mapped.length), ...extension]);
  const seen = lab.pass(OUTSIDE, about(padded, 32 << 16));
  t.is(describe(seen), heard.slice(2));
  t.deepEqual([...seen.payload.slice(128)], extension, 'extensions stay as they are');
  expectWhole(t, lab);
});

for (const [family, client, external, server, router] of [
  [4, '10.1.0.11', EXTERNAL, SERVER, '192.0.2.9'],
  [6, 'fd00:1::11', EXTERNAL6, SERVER6, '2001:db8:9::9'],
] as const) {
  const end = (address: string, port: number): string => (family === 4 ? `${address}:${port}` : `[${address}]:${port}`);
  const types: [number, number][] =
    family === 4
      ? [
          [3, 1],
          [3, 3],
          [3, 4],
          [11, 0],
          [11, 1],
          [12, 0],
        ]
      : [
          [1, 0],
          [1, 4],
          [2, 0],
          [3, 0],
          [4, 0],
        ];
  test(`RFC 5508 REQ-4: errors from outside are put right inside and outside, or dropped, IPv${family}`, (t) => {
    const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
    lab.say(A2, udp(end(family === 4 ? '10.1.0.12' : 'fd00:1::12', 5000), end(server, 53)));
    const original = udp(end(client, 5000), end(server, 53));
    const sent = lab.pass(A, original);
    for (const [type, code] of types) {
      for (const from of [router, server]) {
        const seen = lab.pass(OUTSIDE, icmp(from, external, type, code, 0x11223344, sent.bytes));
        t.is(
          `${seen.port} ${seen.source} ${seen.destination} ${seen.type}/${seen.code}`,
          `1 ${from} ${client} ${type}/${code}`,
        );
        t.is(
          new DataView(seen.bytes.buffer, seen.bytes.byteOffset).getUint32((family === 4 ? 20 : 40) + 4),
          0x11223344,
        );
        t.deepEqual(
          readQuote(seen.payload).bytes,
          withHops(original, readQuote(seen.payload).hops),
          'the quote is what was sent',
        );
        t.true(isQuoteWhole(seen.payload));
      }
    }
    const stranger = udp(end(external, 9), end(server, 53));
    t.is(lab.say(OUTSIDE, unreachable(router, external, stranger)), 'dropped icmp_invalid', 'of no connection');
    expectWhole(t, lab);
  });

  test(`RFC 5508 REQ-5: errors from inside leave from the external address, IPv${family}`, (t) => {
    const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
    const published = end(external, 8053);
    lab.publish({ protocol: UDP, at: published, to: end(client, 53), station: A });
    const original = udp(end(server, 4000), published);
    const arrived = lab.pass(OUTSIDE, original);
    const seen = lab.pass(A, unreachable(client, server, arrived.bytes));
    t.is(`${seen.port} ${seen.source} > ${seen.destination}`, `6 ${external} > ${server}`);
    t.deepEqual(readQuote(seen.payload).bytes, withHops(original, readQuote(seen.payload).hops));
    t.true(isQuoteWhole(seen.payload));
    const hidden = family === 4 ? '10.1.0.99' : 'fd00:1::99';
    const behind = lab.pass(A, icmp(hidden, server, family === 4 ? 3 : 1, 0, 0, arrived.bytes));
    t.is(behind.source, external, 'also those of a router behind the endpoint');
    expectWhole(t, lab);
  });
}

test('RFC 5508 REQ-6: an error about a query neither refreshes its session nor ends it', (t) => {
  const lab = new NatLab();
  const sent = lab.pass(A, echo('10.1.0.11', SERVER, 7007)).bytes;
  const expires = lab.flows.table.words[FLOW_EXPIRES];
  lab.wait(50);
  t.is(
    lab.say(OUTSIDE, icmp(SERVER, EXTERNAL, 11, 0, 0, sent.slice(0, 28))),
    `1 icmp 11/0 ${SERVER} > 10.1.0.11 [icmp 8 10.1.0.11:7007 > ${SERVER}:7007]`,
  );
  t.is(lab.flows.table.count, 1, 'not ended');
  t.is(lab.flows.table.words[FLOW_EXPIRES], expires, 'not refreshed');
  lab.wait(11);
  t.is(lab.flows.table.count, 0, 'its own timer ends it');
  expectWhole(t, lab);
});

test('RFC 5508 REQ-7: errors come back from one endpoint to another behind the same address', (t) => {
  const lab = new NatLab({ nat: { filtering: FILTERING_ENDPOINT_INDEPENDENT } });
  lab.say(B, udp('10.2.0.13:6000', FIRST));
  const arrived = lab.pass(A, udp(INSIDE, `${EXTERNAL}:6000`));
  t.is(describe(arrived), `udp ${EXTERNAL}:5000 > 10.2.0.13:6000`);
  const seen = lab.pass(B, unreachable('10.2.0.13', EXTERNAL, arrived.bytes, 28));
  t.is(`${seen.port} ${describe(seen)}`, `1 icmp 3/3 ${EXTERNAL} > 10.1.0.11 [udp ${INSIDE} > ${EXTERNAL}:6000]`);
  expectWhole(t, lab);
});

test('RFC 5508 REQ-8: prohibited, where no session can be made', (t) => {
  const lab = new NatLab({ nat: { firstPort: 2000, lastPort: 2007 }, translation: { 1: MASQUERADE_BOTH } });
  for (let i = 0; i < 8; i++) {
    t.regex(lab.say(A, udp(`10.1.0.11:${5000 + i}`, FIRST)), /^6 udp/);
    t.regex(lab.say(A, udp(`[fd00:1::11]:${5000 + i}`, `[${SERVER6}]:53`)), /^6 udp/);
    t.regex(lab.say(A, echo('10.1.0.11', SERVER, 10 + i)), /^6 icmp 8/);
  }
  lab.wait(2);
  t.is(
    lab.say(A, udp('10.1.0.11:5008', FIRST)),
    `1 icmp 3/13 10.1.0.1 > 10.1.0.11 [udp 10.1.0.11:5008 > ${FIRST}] | dropped ports_exhausted`,
  );
  t.is(
    lab.say(A, udp('[fd00:1::11]:5008', `[${SERVER6}]:53`)),
    `1 icmp 1/1 fd00:1::1 > fd00:1::11 [udp [fd00:1::11]:5008 > [${SERVER6}]:53] | dropped ports_exhausted`,
  );
  t.regex(lab.say(A, echo('10.1.0.11', SERVER, 99)), /^1 icmp 3\/13 .* \| dropped ports_exhausted$/);
  t.regex(lab.say(A, udp('10.1.0.11:5007', `${SERVER2}:53`)), /^6 udp/, 'who has a port may go on with it');
  t.is(lab.flows.mappings.exhausted, 3);
  expectWhole(t, lab);
});

test('RFC 5508 REQ-10: traceroute through the router, and to what it publishes', (t) => {
  const lab = new NatLab();
  const probes = [
    udp('10.1.0.11:33000', `${SERVER}:33434`),
    echo('10.1.0.11', SERVER, 3),
    tcp('10.1.0.11:4000', `${SERVER}:80`),
  ];
  for (const probe of probes) {
    const first = lab.say(A, withHops(probe, 1));
    t.regex(
      first,
      /^1 icmp 11\/0 10\.1\.0\.1 > 10\.1\.0\.11 \[.* 10\.1\.0\.11:.*\] \| dropped ttl_exceeded$/,
      'the router itself',
    );
    const beyond = lab.pass(A, withHops(probe, 2));
    t.is(beyond.hops, 1);
    const far = lab.say(OUTSIDE, icmp('192.0.2.77', EXTERNAL, 11, 0, 0, beyond.bytes.slice(0, 28)));
    t.regex(far, /^1 icmp 11\/0 192\.0\.2\.77 > 10\.1\.0\.11 \[.* 10\.1\.0\.11:/, 'and the next one');
  }
  lab.publish({ protocol: UDP, at: '0.0.0.0:8053', to: '10.1.0.11:53', station: A });
  const inward = lab.say(OUTSIDE, withHops(udp(FIRST, `${EXTERNAL}:8053`), 1));
  t.is(
    inward,
    `6 icmp 11/0 ${EXTERNAL} > ${SERVER} [udp ${FIRST} > ${EXTERNAL}:8053] | dropped ttl_exceeded`,
    'nothing private is told',
  );
  t.is(lab.flows.table.count, 3, 'what goes nowhere begins no connection');
  expectWhole(t, lab);
});

test('RFC 5508 REQ-11: messages of any other type harm nobody', (t) => {
  const lab = new NatLab({ translation: { 1: MASQUERADE_BOTH } });
  const quoted = lab.pass(A, udp(INSIDE, FIRST)).bytes.slice(0, 28);
  for (let type = 0; type < 256; type++) {
    for (const data of [new Uint8Array(0), filler(20), quoted]) {
      lab.give(A, icmp('10.1.0.11', SERVER, type, 0, 0, data));
      lab.give(OUTSIDE, icmp(SERVER, EXTERNAL, type, 0, 0, data));
      lab.give(C, icmp('10.3.0.15', SERVER, type, 0, 0, data));
      lab.give(A, icmp('fd00:1::11', SERVER6, type, 0, 0, data));
      lab.give(OUTSIDE, icmp(SERVER6, EXTERNAL6, type, 0, 0, data));
    }
  }
  lab.knowAll();
  for (const type of [4, 5, 15, 16, 17, 18]) {
    t.regex(lab.say(OUTSIDE, icmp(SERVER, EXTERNAL, type, 0, 0, quoted)), /dropped icmp_invalid$/, `type ${type}`);
    t.regex(lab.say(A, icmp('10.1.0.11', SERVER, type, 0, 0, quoted)), /dropped no_flow$/, `type ${type} from inside`);
  }
  t.is(lab.say(OUTSIDE, udp(FIRST, `${EXTERNAL}:5000`)), `1 udp ${FIRST} > ${INSIDE}`);
  expectWhole(t, lab);
});
