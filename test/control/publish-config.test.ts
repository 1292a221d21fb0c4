/** Published ports in a configuration: what is taken, what is refused, and whose they are already. */

import test from 'ava';
import { parseConfiguration } from '../../control/config/load.js';
import { TaplineError } from '../../control/errors.js';

const OWN = 'device: up0, mode: own, addresses: [10.77.0.1/24, "2001:db8::1/64"]';
const SHARED = 'device: up0, mode: shared';
const BLUE = 'subnets: [172.30.0.0/24, "fd00:30::/64"]';

function file(a: string, b = '', uplink = OWN, blue = BLUE): string {
  const endpoint = (name: string, publish: string): string =>
    `{ network: blue, netns: /${name}, publish: [${publish}] }`;
  return `version: 1
${uplink === '' ? '' : `uplink: { ${uplink} }`}
networks: { blue: { ${blue} }, red: { subnets: [172.31.0.0/24] } }
endpoints: { a: ${endpoint('a', a)}, b: ${endpoint('b', b)} }
`;
}

function publishedBy(yaml: string): readonly string[] | undefined {
  return parseConfiguration(yaml, 'f.yaml').endpoints.get('a')?.publish;
}

test('every form of the contract is taken, and written in one way', (t) => {
  const given = '"8080:80", "10.77.0.1:5201:5201/tcp", "6000-6010:7000-7010/udp", "[2001:DB8::1]:80:80/sctp"';
  t.deepEqual(publishedBy(file(given)), [
    '8080:80/tcp',
    '10.77.0.1:5201:5201/tcp',
    '6000-6010:7000-7010/udp',
    '[2001:db8::1]:80:80/sctp',
  ]);
  t.deepEqual(publishedBy(file('"90-90:80-80", "0.0.0.0:81:81", "[::]:82:82"')), [
    '90:80/tcp',
    '0.0.0.0:81:81/tcp',
    '[::]:82:82/tcp',
  ]);
  t.deepEqual(publishedBy(file('"127.0.0.1:80:80", "192.0.2.7:81:80"', '', SHARED)), [
    '127.0.0.1:80:80/tcp',
    '192.0.2.7:81:80/tcp',
  ]);
});

test('one port at several places is no conflict', (t) => {
  for (const [a, b] of [
    ['"80:80/tcp"', '"80:80/udp", "80:80/sctp"'],
    ['"10.77.0.1:80:80"', '"[2001:db8::1]:80:80"'],
    ['"0.0.0.0:80:80"', '"[::]:80:80"'],
    ['"1-79:1-79"', '"80-100:80-100"'],
  ] as const)
    t.notThrows(() => publishedBy(file(a, b)));
});

const POOL = `${BLUE}, masquerade: [10.77.0.9]`;
const NEEDS = 'needs an uplink of mode own, shared or routed';

/** What is wrong, the file, and the line behind the file's name. */
const REFUSED: readonly (readonly [string, string, string])[] = [
  [
    'the same port',
    file('"8080:80"', '"8080:81"'),
    'endpoints.b.publish[0]: 8080:81/tcp is taken by 8080:80/tcp of endpoint a; choose other ports, or another address',
  ],
  [
    'twice at one endpoint',
    file('"8080:80", "10.77.0.1:8080:80"'),
    'endpoints.a.publish[1]: 10.77.0.1:8080:80/tcp is taken by 8080:80/tcp of this endpoint; choose other ports, or another address',
  ],
  [
    'an address within all',
    file('"10.77.0.1:80:80"', '"0.0.0.0:80:80"'),
    'endpoints.b.publish[0]: 0.0.0.0:80:80/tcp is taken by 10.77.0.1:80:80/tcp of endpoint a; choose other ports, or another address',
  ],
  [
    'a port within a range',
    file('"6005:1/udp"', '"6000-6010:6000-6010/udp"'),
    'endpoints.b.publish[0]: 6000-6010:6000-6010/udp is taken by 6005:1/udp of endpoint a; choose other ports, or another address',
  ],
  [
    'an address that is not the uplink’s',
    file('"10.77.0.2:80:80"'),
    'endpoints.a.publish[0]: expected an address of the uplink, 10.77.0.1 or 2001:db8::1, to publish on, got 10.77.0.2',
  ],
  [
    'the loopback of an uplink of its own',
    file('"127.0.0.1:80:80"', '', OWN, POOL),
    'endpoints.a.publish[0]: expected an address of the uplink, 10.77.0.1 or 2001:db8::1 or 10.77.0.9, to publish on, got 127.0.0.1',
  ],
  [
    'a family that the network lacks',
    file('"[2001:db8::1]:80:80"', '', OWN, 'subnets: [172.30.0.0/24]'),
    'endpoints.a.publish[0]: network blue has no IPv6 subnet',
  ],
  ['no uplink', file('"80:80"', '', ''), `endpoints.a.publish: ${NEEDS}; there is none`],
  [
    'a bridged uplink',
    file('"80:80"', '', 'device: up0, mode: bridged, network: red'),
    `endpoints.a.publish: ${NEEDS}, got bridged`,
  ],
  [
    'an internal network',
    file('"80:80"', '', OWN, `${BLUE}, internal: true`),
    'endpoints.a.publish: network blue is internal: nothing of it is published; leave out internal, or this',
  ],
  [
    'another VRF',
    file('"80:80"', '', OWN, `${BLUE}, vrf: lab`),
    'endpoints.a.publish: network blue is in VRF lab, the uplink in VRF default; nothing is published across VRFs',
  ],
  [
    'brackets around IPv4',
    file('"[10.77.0.1]:80:80"'),
    'endpoints.a.publish[0]: expected an IPv4 address or an IPv6 address in brackets to publish on, got "[10.77.0.1]:80:80"',
  ],
];

for (const [what, yaml, line] of REFUSED) {
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => publishedBy(yaml), { instanceOf: TaplineError });
    t.is(error.message.replace(/ \(and \d+ more\)$/, ''), `f.yaml: ${line}`);
  });
}

test('an address of a pool that a network leaves from can be published on', (t) => {
  t.deepEqual(publishedBy(file('"10.77.0.9:80:80"', '', OWN, POOL)), ['10.77.0.9:80:80/tcp']);
});

test('ten thousand published ports are checked in no time', (t) => {
  const many = Array.from({ length: 10_000 }, (_, i) => `"${i + 1}:80"`).join(', ');
  const started = process.hrtime.bigint();
  t.is(publishedBy(file(many, '"1-65535:1-65535/udp"'))?.length, 10_000);
  t.true(process.hrtime.bigint() - started < 5_000_000_000n);
});
