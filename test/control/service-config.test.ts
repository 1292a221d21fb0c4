/** Services in a configuration: what is taken, what is refused, and whose an address or a port is already. */

import test from 'ava';
import { virtualAddresses } from '../../control/config/listen.js';
import { parseConfiguration } from '../../control/config/load.js';
import { formatPath, type Problem } from '../../control/config/problems.js';
import { type Configuration, endpointSchema, networkSchema, serviceSchema } from '../../control/config/schema.js';
import { checkServices, serviceProblems, servicesInTheWay, serviceWarnings } from '../../control/config/service.js';
import { TaplineError } from '../../control/errors.js';

const OWN = 'device: up0, mode: own, addresses: [10.77.0.1/24, "2001:db8::1/64"]';
const SHARED = 'device: up0, mode: shared';
const BRIDGED = (network: string): string => `device: up0, mode: bridged, network: ${network}`;

interface Parts {
  readonly uplink?: string;
  readonly blue?: string;
  readonly red?: string;
  /** Further keys of endpoint a. */
  readonly a?: string;
  readonly b?: string;
}

/** Networks blue and red (IPv4 alone), endpoints a, b in blue and c in red, services as given. */
function file(services: string, { uplink = OWN, blue = '', red = '', a = '', b = '' }: Parts = {}): string {
  return `version: 1
${uplink === '' ? '' : `uplink: { ${uplink} }`}
networks:
  blue: { subnets: [172.30.0.0/24, "fd00:30::/64"]${blue} }
  red: { subnets: [172.31.0.0/24]${red} }
endpoints:
  a: { network: blue, netns: /a, addresses: [172.30.0.2]${a} }
  b: { network: blue, netns: /b${b} }
  c: { network: red, netns: /c }
services: { ${services} }
`;
}

function web(listen: string, backends = '{ endpoint: a, port: 80 }, { endpoint: b, port: 80 }', rest = ''): string {
  return `web: { network: blue, listen: [${listen}], backends: [${backends}]${rest} }`;
}

function read(yaml: string): Configuration {
  return parseConfiguration(yaml, 'f.yaml');
}

function listenersOf(yaml: string): readonly string[] | undefined {
  return read(yaml).services.get('web')?.listen;
}

test('every form of a listener is taken, and written in one way', (t) => {
  const all = '"10.77.0.1:8080/tcp", "[2001:DB8:0::1]:53/udp", "8000-8010", "0.0.0.0:81-81/tcp", "[::]:82/tcp"';
  t.deepEqual(listenersOf(file(web(all))), [
    '10.77.0.1:8080/tcp',
    '[2001:db8::1]:53/udp',
    '8000-8010/tcp',
    '0.0.0.0:81/tcp',
    '[::]:82/tcp',
  ]);
  const inside = '"172.30.0.100:80/tcp", "[fd00:30::100]:80/tcp", "172.30.0.1:80/udp"';
  for (const uplink of [OWN, SHARED, BRIDGED('red'), '']) t.is(listenersOf(file(web(inside), { uplink }))?.length, 3);
  t.deepEqual(listenersOf(file(web('"127.0.0.1:80", "192.0.2.7:80"'), { uplink: SHARED })), [
    '127.0.0.1:80/tcp',
    '192.0.2.7:80/tcp',
  ]);
});

test('an address of a pool that a network leaves from can be listened on', (t) => {
  t.deepEqual(listenersOf(file(web('"10.77.0.9:80"'), { red: ', masquerade: [10.77.0.9]' })), ['10.77.0.9:80/tcp']);
});

test('defaults, and every option', (t) => {
  t.deepEqual(read(file('web: { network: blue, listen: ["80"] }')).services.get('web'), {
    network: 'blue',
    listen: ['80/tcp'],
    scheduler: 'rr',
    backends: [],
    forwarding: 'nat',
    affinity: 0,
    table_size: 65_537,
    drain_timeout: 0,
    flood_rate: 100_000,
    passive: { failures: 3, time: 10 },
  });
  const options = `, scheduler: maglev, affinity: 300, table_size: 251, drain_timeout: 60, flood_rate: 0,
    health: { type: https, port: 8443, path: "/up?x=1", host: web.example, status: "200-299", body: fine, interval: 1, timeout: 1, rise: 1, fall: 1 },
    passive: { failures: 0, time: 1 }`;
  t.deepEqual(read(file(web('"80"', '{ endpoint: a, port: 80, weight: 0 }', options))).services.get('web'), {
    network: 'blue',
    listen: ['80/tcp'],
    scheduler: 'maglev',
    backends: [{ endpoint: 'a', port: 80, weight: 0 }],
    forwarding: 'nat',
    affinity: 300,
    table_size: 251,
    drain_timeout: 60,
    flood_rate: 0,
    health: {
      type: 'https',
      port: 8443,
      path: '/up?x=1',
      host: 'web.example',
      status: '200-299',
      body: 'fine',
      interval: 1,
      timeout: 1,
      rise: 1,
      fall: 1,
    },
    passive: { failures: 0, time: 1 },
  });
  for (const scheduler of ['rr', 'wrr', 'lc', 'wlc', 'sh', 'maglev'])
    t.notThrows(() => read(file(web('"80"', undefined, `, scheduler: ${scheduler}`))));
  for (const health of ['type: tcp', 'type: http', 'type: http, status: 204', 'type: tcp, port: 81'])
    t.notThrows(() => read(file(web('"80"', undefined, `, health: { ${health} }`))));
});

test('one endpoint at several ports, and endpoints of other networks of the VRF, may be backends', (t) => {
  const backends = '{ endpoint: a, port: 80 }, { endpoint: a, port: 81 }, { endpoint: c, port: 80 }';
  t.is(read(file(web('"80"', backends))).services.get('web')?.backends.length, 3);
  t.notThrows(() => read(file(web('"172.30.0.100:80"', backends), { blue: ', internal: true' })));
});

test('one port at several places is no conflict', (t) => {
  const two = (first: string, second: string): string =>
    `${web(first)}, api: { network: blue, listen: [${second}], backends: [] }`;
  for (const [first, second] of [
    ['"80/tcp"', '"80/udp"'],
    ['"10.77.0.1:80"', '"[2001:db8::1]:80"'],
    ['"0.0.0.0:80"', '"[::]:80"'],
    ['"1-79"', '"80-100"'],
    ['"172.30.0.100:80"', '"172.30.0.101:80", "172.30.0.100:81"'],
    // All addresses are all of the uplink.
    ['"80"', '"172.30.0.100:80", "172.30.0.1:80"'],
  ] as const)
    t.notThrows(() => read(file(two(first, second))), `${first} and ${second}`);
  t.notThrows(() => read(file(web('"172.30.0.100:80"'), { a: ', publish: ["80:80", "10.77.0.1:81:80"]' })));
  t.notThrows(() => read(file(web('"80/tcp"'), { a: ', publish: ["80:80/udp", "81:80/tcp"]' })));
});

test('direct: an address that backends may use', (t) => {
  const direct = web('"172.30.0.100:80"', '{ endpoint: a, port: 80 }', ', forwarding: direct');
  const allowed = ['172.30.0.100', '172.30.0.96/28'].map((address) => `, allowed_addresses: [${address}]`);
  for (const a of [...allowed, ', security: mac', ', security: off']) t.notThrows(() => read(file(direct, { a })), a);
  const both = web('"172.30.0.100:80", "172.30.0.101:80"', '', ', forwarding: direct');
  t.notThrows(() => read(file(both)), 'no backends so far');
});

const ONE = '{ endpoint: a, port: 80 }';
const DIRECT = ', forwarding: direct';
const NEEDS = 'needs an uplink of mode own, shared or routed';
const INSIDE = '172.30.0.0/24 or fd00:30::/64 of network blue';
const ELSE = 'choose other ports, or another address';
const UPLINKS = `expected an address of the uplink, 10.77.0.1 or 2001:db8::1, or one in ${INSIDE}`;

/** What is wrong, the file, and the line behind the file's name. */
const REFUSED: readonly (readonly [string, string, string])[] = [
  // By itself.
  [
    'no listener',
    file('web: { network: blue, listen: [] }'),
    'services.web.listen: expected at least one entry in the list of listening addresses, got an empty list',
  ],
  [
    'a listener of another protocol',
    file(web('"80/sctp"')),
    'services.web.listen[0]: expected a listening address of protocol tcp or udp, got "80/sctp"',
  ],
  [
    'a listener with two ports',
    file(web('"8080:80"')),
    'services.web.listen[0]: expected a listening address such as "10.77.0.1:8080/tcp", "[fd00::1]:53/udp" or "8000-8010/tcp", got "8080:80"',
  ],
  [
    'a range that goes down',
    file(web('"81-80"')),
    'services.web.listen[0]: expected a listening address such as "10.77.0.1:8080/tcp", "[fd00::1]:53/udp" or "8000-8010/tcp", got "81-80"',
  ],
  [
    'a listener without brackets',
    file(web('"[10.77.0.1]:80"')),
    'services.web.listen[0]: expected an IPv4 address or an IPv6 address in brackets to listen on, got "[10.77.0.1]:80"',
  ],
  [
    'an unknown scheduler',
    file(web('"80"', ONE, ', scheduler: random')),
    'services.web.scheduler: expected one of rr, wrr, lc, wlc, sh, maglev, got "random"',
  ],
  [
    'a port out of range',
    file(web('"80"', '{ endpoint: a, port: 65536 }')),
    'services.web.backends[0].port: expected an integer from 1 to 65535, got 65536',
  ],
  [
    'port 0',
    file(web('"80"', '{ endpoint: a, port: 0 }')),
    'services.web.backends[0].port: expected an integer from 1 to 65535, got 0',
  ],
  [
    'no port',
    file(web('"80"', '{ endpoint: a }')),
    'services.web.backends[0].port: missing; expected an integer from 1 to 65535',
  ],
  [
    'a negative weight',
    file(web('"80"', '{ endpoint: a, port: 80, weight: -1 }')),
    'services.web.backends[0].weight: expected an integer from 0 to 65535, got -1',
  ],
  [
    'an unknown key of a backend',
    file(web('"80"', '{ endpoint: a, port: 80, wieght: 1 }')),
    'services.web.backends[0].wieght: unknown key; expected one of endpoint, port, weight',
  ],
  [
    'a table without a prime size',
    file(web('"80"', ONE, ', scheduler: maglev, table_size: 65536')),
    'services.web.table_size: expected a prime number from 251 to 1048573, got 65536',
  ],
  [
    'forwarding',
    file(web('"80"', ONE, ', forwarding: tunnel')),
    'services.web.forwarding: expected one of nat, direct, got "tunnel"',
  ],
  [
    'a check without a type',
    file(web('"80"', ONE, ', health: { path: / }')),
    'services.web.health.type: missing; expected one of tcp, http, https',
  ],
  [
    'a path for TCP',
    file(web('"80"', ONE, ', health: { type: tcp, path: / }')),
    'services.web.health.path: needs type: http or type: https',
  ],
  [
    'a path without a slash',
    file(web('"80"', ONE, ', health: { type: http, path: up }')),
    'services.web.health.path: expected a path such as "/health", got "up"',
  ],
  [
    'statuses that go down',
    file(web('"80"', ONE, ', health: { type: http, status: 399-200 }')),
    'services.web.health.status: expected an HTTP status code or a range such as "200-399", got "399-200"',
  ],
  [
    'an interval of 0',
    file(web('"80"', ONE, ', health: { type: tcp, interval: 0 }')),
    'services.web.health.interval: expected an integer from 1 to 3600, got 0',
  ],
  [
    'a name that is kept',
    file('uplink: { network: blue, listen: ["80"] }'),
    'services.uplink: the name uplink is kept for the uplink; take another',
  ],
  // Against its network and the uplink.
  [
    'an unknown network',
    file('web: { network: grey, listen: ["80"] }'),
    'services.web.network: expected the name of a network, got "grey"',
  ],
  [
    'a bridged network',
    file(web('"172.30.0.100:80"'), { uplink: BRIDGED('blue') }),
    'services.web.network: the uplink is bridged into network blue: its gateway is outside; services need a network of a router',
  ],
  [
    'no uplink',
    file(web('"80"'), { uplink: '' }),
    `services.web.listen[0]: ${NEEDS}; there is none; listen on an address in ${INSIDE}`,
  ],
  [
    'a bridged uplink',
    file(web('"172.30.0.100:80", "80"'), { uplink: BRIDGED('red') }),
    `services.web.listen[1]: ${NEEDS}, got bridged; listen on an address in ${INSIDE}`,
  ],
  [
    'an internal network at the uplink',
    file(web('"10.77.0.1:80"'), { blue: ', internal: true' }),
    `services.web.listen[0]: network blue is internal: nothing of it is published; leave out internal, or listen on an address in ${INSIDE}`,
  ],
  [
    'another VRF than the uplink’s',
    file(web('"80"'), { blue: ', vrf: lab' }),
    `services.web.listen[0]: network blue is in VRF lab, the uplink in VRF default; nothing is published across VRFs; listen on an address in ${INSIDE}`,
  ],
  ['nobody’s address', file(web('"10.77.0.2:80"')), `services.web.listen[0]: ${UPLINKS}, got 10.77.0.2`],
  [
    'the loopback of an uplink of its own',
    file(web('"127.0.0.1:80"')),
    `services.web.listen[0]: ${UPLINKS}, got 127.0.0.1`,
  ],
  [
    'an address of another network',
    file(web('"172.31.0.100:80"')),
    `services.web.listen[0]: ${UPLINKS}, got 172.31.0.100, which is in network red`,
  ],
  [
    'an address of another network on a shared uplink',
    file(web('"172.31.0.100:80"'), { uplink: SHARED }),
    `services.web.listen[0]: expected an address of the host, or one in ${INSIDE}, got 172.31.0.100, which is in network red`,
  ],
  [
    'a family that the uplink lacks',
    file(web('"[::]:80"'), { uplink: 'device: up0, mode: own, addresses: [10.77.0.1/24]' }),
    'services.web.listen[0]: the uplink has no IPv6 address',
  ],
  [
    'a family that the network lacks',
    file('web: { network: red, listen: ["[2001:db8::1]:80"] }'),
    'services.web.listen[0]: no backend can have an IPv6 address: network red has no IPv6 subnet',
  ],
  [
    'a family that all backends lack',
    file(web('"[fd00:30::100]:80"', '{ endpoint: c, port: 80 }')),
    'services.web.listen[0]: no backend can have an IPv6 address: network red has no IPv6 subnet',
  ],
  [
    'the network address',
    file(web('"172.30.0.0:80"')),
    'services.web.listen[0]: 172.30.0.0 is the network address of network blue',
  ],
  [
    'the broadcast address',
    file(web('"172.30.0.255:80"')),
    'services.web.listen[0]: 172.30.0.255 is the broadcast address of network blue',
  ],
  [
    'the anycast address of routers',
    file(web('"[fd00:30::]:80"')),
    'services.web.listen[0]: fd00:30:: is the subnet-router anycast address of network blue',
  ],
  [
    'an endpoint’s address',
    file(web('"172.30.0.2:80"')),
    'services.web.listen[0]: 172.30.0.2 is already an address of endpoint a; take another',
  ],
  [
    'links to the host',
    file('web: { network: red, listen: ["80"] }', { uplink: SHARED }).replace('172.31.0.0/24', '169.254.42.128/25'),
    'networks.red.subnets[0]: 169.254.42.128/25 overlaps 169.254.42.0/24, the links to the host; choose another',
  ],
  // Backends.
  [
    'an unknown endpoint',
    file(web('"80"', '{ endpoint: a, port: 80 }, { endpoint: x, port: 80 }')),
    'services.web.backends[1].endpoint: expected the name of an endpoint, got "x"',
  ],
  [
    'a backend given twice',
    file(web('"80"', `${ONE}, { endpoint: b, port: 80 }, { endpoint: a, port: 80, weight: 2 }`)),
    'services.web.backends[2]: a:80 given twice',
  ],
  [
    'a backend in another VRF',
    file(web('"80"', '{ endpoint: a, port: 80 }, { endpoint: c, port: 80 }'), { red: ', vrf: lab' }),
    'services.web.backends[1].endpoint: endpoint c is in network red of VRF lab, the service in VRF default; no connection leads from one to the other',
  ],
  [
    'a backend in another internal network',
    file(web('"80"', '{ endpoint: c, port: 80 }'), { red: ', internal: true' }),
    'services.web.backends[0].endpoint: endpoint c is in network red, which is internal: only services of that network reach it',
  ],
  [
    'a backend in a bridged network',
    file(web('"172.30.0.100:80"', '{ endpoint: c, port: 80 }'), { uplink: BRIDGED('red') }),
    'services.web.backends[0].endpoint: endpoint c is in network red, which the uplink is bridged into: its gateway is outside, and no service reaches it',
  ],
  [
    'a backend in another VLAN than the gateway',
    file(web('"80"', ONE), { blue: ', vlan_filtering: true', a: ', vlan: 20' }),
    'services.web.backends[0].endpoint: endpoint a is in VLAN 20 of network blue, its gateway in VLAN 1',
  ],
  [
    'a range that reaches beyond the last port',
    file(web('"80", "8000-8010"', '{ endpoint: a, port: 65526 }')),
    'services.web.backends[0].port: expected 65525 at most, for the 11 ports of 8000-8010/tcp, got 65526',
  ],
  [
    'more backends than entries in the table',
    file(
      web(
        '"80"',
        Array.from({ length: 251 }, (_, i) => `{ endpoint: a, port: ${i + 1} }`).join(', '),
        ', scheduler: sh, table_size: 251',
      ),
    ),
    'services.web.table_size: expected a prime number above 251, of the backends, got 251',
  ],
  // Direct server return.
  [
    'direct at all addresses',
    file(web('"80"', ONE, DIRECT)),
    'services.web.listen[0]: forwarding: direct needs the one address that all backends have too',
  ],
  [
    'direct at the loopback',
    file(web('"127.0.0.1:80"', ONE, DIRECT), { uplink: SHARED }),
    'services.web.listen[0]: forwarding: direct needs the one address that all backends have too',
  ],
  [
    'direct at the gateway',
    file(web('"172.30.0.1:80"', ONE, DIRECT)),
    'services.web.listen[0]: 172.30.0.1 is the gateway address of network blue, which no backend can have too; forwarding: direct needs another',
  ],
  [
    'direct with another port',
    file(web('"172.30.0.100:80"', '{ endpoint: a, port: 8080 }', DIRECT), { a: ', security: mac' }),
    'services.web.backends[0].port: forwarding: direct leaves ports as they are: expected 80, as 172.30.0.100:80/tcp, got 8080',
  ],
  [
    'direct to another network',
    file(web('"172.30.0.100:80"', '{ endpoint: c, port: 80 }', DIRECT)),
    'services.web.backends[0].endpoint: endpoint c is in network red; forwarding: direct reaches endpoints of network blue alone',
  ],
  [
    'direct to an endpoint that may not answer',
    file(web('"172.30.0.100:80"', ONE, DIRECT), { a: ', allowed_addresses: [172.30.0.96/30]' }),
    'services.web.backends[0].endpoint: endpoint a may not send from 172.30.0.100, as forwarding: direct asks of it; add it to its allowed_addresses, or set its security: mac',
  ],
  // Whose it is already.
  [
    'a listener given twice',
    file(web('"80", "80/tcp"')),
    `services.web.listen[1]: 80/tcp is taken by 80/tcp of this service; ${ELSE}`,
  ],
  [
    'a port within a range',
    file(`${web('"8000-8010/udp"')}, api: { network: red, listen: ["10.77.0.1:8005/udp"] }`),
    `services.api.listen[0]: 10.77.0.1:8005/udp is taken by 8000-8010/udp of service web; ${ELSE}`,
  ],
  [
    'all addresses of a family around one',
    file(`${web('"[2001:db8::1]:80"')}, api: { network: blue, listen: ["[::]:80"] }`),
    `services.api.listen[0]: [::]:80/tcp is taken by [2001:db8::1]:80/tcp of service web; ${ELSE}`,
  ],
  [
    'a virtual address and port of another service',
    file(`${web('"172.30.0.100:80"')}, api: { network: blue, listen: ["172.30.0.100:1-80"] }`),
    `services.api.listen[0]: 172.30.0.100:1-80/tcp is taken by 172.30.0.100:80/tcp of service web; ${ELSE}`,
  ],
  [
    'a published port',
    file(web('"10.77.0.1:8080"'), { a: ', publish: ["8080:80"]' }),
    `services.web.listen[0]: 10.77.0.1:8080/tcp is taken by 8080:80/tcp of endpoint a; ${ELSE}`,
  ],
  [
    'all addresses around a published port',
    file(web('"8000-8100/udp"'), { b: ', publish: ["10.77.0.1:8080:80/udp"]' }),
    `services.web.listen[0]: 8000-8100/udp is taken by 10.77.0.1:8080:80/udp of endpoint b; ${ELSE}`,
  ],
];

function lineOf(error: TaplineError | undefined): string {
  return error?.message.replace(/ \(and \d+ more\)$/, '') ?? 'no error';
}

for (const [what, yaml, line] of REFUSED) {
  test(`refused: ${what}`, (t) => {
    t.is(lineOf(t.throws(() => read(yaml), { instanceOf: TaplineError })), `f.yaml: ${line}`);
  });
}

function lines(problems: readonly Problem[]): string[] {
  return problems.map(({ path, kind, message }) => `${kind} ${formatPath(path)}: ${message}`);
}

const service = (keys: object) => serviceSchema.parse({ network: 'blue', listen: ['8080/tcp'], ...keys });
const endpoint = (keys: object) => endpointSchema.parse({ network: 'blue', netns: '/x', ...keys });

test('one service by command: paths are its own, kinds tell what to do', (t) => {
  const config = read(file(web('"10.77.0.1:80"', ONE), { b: ', publish: ["81:80"]' }));
  const backends = [{ endpoint: 'x', port: 80 }];
  t.deepEqual(lines(serviceProblems('api', service({ listen: ['81/tcp', '80/tcp'], backends }), config)), [
    'missing backends[0].endpoint: expected the name of an endpoint, got "x"',
    `conflict listen[0]: 81/tcp is taken by 81:80/tcp of endpoint b; ${ELSE}`,
    `conflict listen[1]: 80/tcp is taken by 10.77.0.1:80/tcp of service web; ${ELSE}`,
  ]);
  t.deepEqual(lines(serviceProblems('api', service({ network: 'grey' }), config)), [
    'missing network: expected the name of a network, got "grey"',
  ]);
  t.deepEqual(lines(serviceProblems('host', service({}), config)), [
    'invalid : the name host is kept for the port of the host; take another',
  ]);
  t.deepEqual(serviceProblems('api', service({ backends: [{ endpoint: 'c', port: 80 }] }), config), []);
});

test('a service that changes is not in its own way, and keeps backends that are away for a while', (t) => {
  const config = read(file(web('"10.77.0.1:80"')));
  const endpoints = new Map([...config.endpoints].filter(([name]) => name !== 'b'));
  const away = { ...config, endpoints };
  const backends = ['a', 'b'].map((name) => ({ endpoint: name, port: 81 }));
  const changed = service({ listen: ['80/tcp', '81/tcp'], backends });
  t.deepEqual(serviceProblems('web', changed, away), []);
  t.deepEqual(lines(serviceProblems('web', service({ backends: [{ endpoint: 'd', port: 80 }] }), away)), [
    'missing backends[0].endpoint: expected the name of an endpoint, got "d"',
  ]);
  t.deepEqual(lines(serviceProblems('api', service({ backends }), away)), [
    'missing backends[1].endpoint: expected the name of an endpoint, got "b"',
  ]);
});

test('a service by command at addresses of the host, where a network has those of the links there', (t) => {
  const config = read(file('', { uplink: SHARED }));
  const networks = new Map([...config.networks, ['links', networkSchema.parse({ subnets: ['169.254.42.0/25'] })]]);
  t.deepEqual(lines(serviceProblems('web', service({}), { ...config, networks })), [
    'conflict listen: network links overlaps 169.254.42.0/24, the links to the host, by which it would be reached',
  ]);
  t.deepEqual(serviceProblems('web', service({ listen: ['172.30.0.100:80/tcp'] }), { ...config, networks }), []);
});

/** Endpoint d, which comes while services are there. */
function withEndpoint(config: Configuration, keys: object): Configuration {
  return { ...config, endpoints: new Map([...config.endpoints, ['d', endpoint(keys)]]) };
}

test('an endpoint that comes later gets neither a service’s address nor its ports', (t) => {
  const config = read(file(web('"10.77.0.1:8000-8010", "172.30.0.100:80", "[fd00:30::100]:80"')));
  const publish = ['8010:80/tcp', '8010:80/udp', '80:80/tcp'];
  const taken = withEndpoint(config, { addresses: ['172.30.0.101', 'fd00:30::100'], publish });
  t.deepEqual(lines(servicesInTheWay('d', taken)), [
    'conflict endpoints.d.addresses[1]: fd00:30::100 is already an address of service web',
    `conflict endpoints.d.publish[0]: 8010:80/tcp is taken by 10.77.0.1:8000-8010/tcp of service web; ${ELSE}`,
  ]);
  t.deepEqual(
    servicesInTheWay('d', withEndpoint(config, { addresses: ['172.30.0.101'], publish: publish.slice(1) })),
    [],
  );
  t.deepEqual(servicesInTheWay('x', config), [], 'nobody of that name');
});

test('an endpoint in another VRF may have the address', (t) => {
  const config = read(file(web('"172.30.0.100:80"')));
  const lab = networkSchema.parse({ subnets: ['172.30.0.0/24'], vrf: 'lab' });
  const networks = new Map([...config.networks, ['lab', lab]]);
  const come = { network: 'lab', addresses: ['172.30.0.100'] };
  t.deepEqual(servicesInTheWay('d', withEndpoint({ ...config, networks }, come)), []);
});

test('an endpoint that comes back as a backend must still be one', (t) => {
  const config = read(file(web('"80"')));
  const backends = [{ endpoint: 'd', port: 80 }];
  const direct = service({ listen: ['172.30.0.100:80/tcp'], backends, forwarding: 'direct' });
  const services = new Map([
    ['waiting', service({ backends })],
    ['straight', direct],
  ]);
  const networks = new Map([
    ...config.networks,
    ['lab', networkSchema.parse({ subnets: ['10.1.0.0/24'], vrf: 'lab' })],
  ]);
  const waiting = { ...config, networks, services };
  t.deepEqual(servicesInTheWay('d', withEndpoint(waiting, { security: 'mac' })), []);
  t.deepEqual(lines(servicesInTheWay('d', withEndpoint(waiting, {}))), [
    'conflict endpoints.d: is a backend of service straight: endpoint d may not send from 172.30.0.100, as forwarding: direct asks of it; add it to its allowed_addresses, or set its security: mac',
  ]);
  t.deepEqual(
    lines(servicesInTheWay('d', withEndpoint(waiting, { network: 'lab' }))).map((line) => line.split(';')[0]),
    ['waiting', 'straight'].map(
      (name) =>
        `conflict endpoints.d: is a backend of service ${name}: endpoint d is in network lab of VRF lab, the service in VRF default`,
    ),
  );
});

test('virtual addresses: the network’s, without the gateway’s, each once', (t) => {
  const config = read(file(''));
  const listen = ['172.30.0.1:80', '172.30.0.100:80', '172.30.0.100:81', '[fd00:30::1]:80', '[FD00:30::100]:80', '80'];
  t.deepEqual(virtualAddresses(service({ listen: [...listen, '10.77.0.1:81'] }), config), [
    '172.30.0.100',
    'fd00:30::100',
  ]);
  t.deepEqual(virtualAddresses(service({ network: 'red', listen }), config), []);
  t.deepEqual(virtualAddresses(service({ network: 'grey', listen }), config), []);
});

test('weights that a scheduler does not look at are worth a warning', (t) => {
  const weighted = (scheduler: string, weights: readonly number[]): string[] =>
    serviceWarnings(
      'web',
      service({ scheduler, backends: weights.map((weight, i) => ({ endpoint: 'a', port: i + 1, weight })) }),
    );
  t.deepEqual(weighted('rr', [1, 2]), ['service web: scheduler rr does not look at weights other than 0; wrr does']);
  t.deepEqual(weighted('lc', [1, 2]), ['service web: scheduler lc does not look at weights other than 0; wlc does']);
  t.deepEqual(weighted('rr', [5, 5, 0]), []);
  for (const scheduler of ['wrr', 'wlc', 'sh', 'maglev']) t.deepEqual(weighted(scheduler, [1, 2]), []);
});

test('a thousand services of a hundred backends are checked in no time', (t) => {
  const endpoints = new Map(Array.from({ length: 1000 }, (_, i) => [`e${i}`, endpoint({})]));
  const services = Array.from({ length: 1000 }, (_, i) => {
    const backends = Array.from({ length: 100 }, (_, j) => ({ endpoint: `e${(i + j) % 1000}`, port: 80 }));
    return [`s${i}`, service({ listen: [`${i + 1}/tcp`, `172.30.0.100:${i + 1}/tcp`], backends })] as const;
  });
  const config = { ...read(file('')), endpoints, services: new Map(services) };
  const started = process.hrtime.bigint();
  t.deepEqual(checkServices(config), []);
  t.deepEqual(serviceProblems('new', service({ listen: ['172.30.0.101:80/tcp'] }), config), []);
  t.deepEqual(lines(serviceProblems('new', service({ listen: ['500/tcp'] }), config)), [
    `conflict listen[0]: 500/tcp is taken by 500/tcp of service s499; ${ELSE}`,
  ]);
  t.true(process.hrtime.bigint() - started < 5_000_000_000n);
});
