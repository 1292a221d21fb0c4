/** VRFs, routes, gateways and uplinks of the router as files say them: what is refused, and in which words. */

import test from 'ava';
import { parseConfiguration } from '../../control/config/load.js';
import type { Configuration } from '../../control/config/schema.js';
import { TaplineError } from '../../control/errors.js';

const parse = (yaml: string): Configuration => parseConfiguration(`version: 1\n${yaml}`, 'f.yaml');

function lineOf(yaml: string): string {
  try {
    parse(yaml);
  } catch (error) {
    if (error instanceof TaplineError && error.kind === 'invalid') return error.message.replace('f.yaml: ', '');
    throw error;
  }
  return 'accepted';
}

const BLUE = 'networks: { blue: { subnets: [172.30.0.0/24, "fd00:30::/64"] } }\n';
const network = (body: string): string => `networks: { blue: { subnets: [172.30.0.0/24], ${body} } }\n`;
const networks = (body: string): string => `networks: { ${body} }\n`;
const routes = (body: string): string => `${BLUE}vrfs: { default: { routes: [${body}] } }\n`;
const uplink = (body: string): string => `${BLUE}uplink: { device: up0, ${body} }\n`;
const own = (body: string): string => uplink(`mode: own, addresses: [10.77.0.1/24, "fd77::1/64"]${body}`);

/** What is wrong, the input, and the exact line behind the file's name. */
const BAD: readonly (readonly [string, string, string])[] = [
  // Networks.
  [
    'overlap within a VRF',
    networks('a: { subnets: [10.0.0.0/24], vrf: lab }, b: { subnets: [10.0.0.128/25], vrf: lab }'),
    'networks.b.subnets[0]: 10.0.0.128/25 overlaps 10.0.0.0/24 of network a',
  ],
  [
    'network named host',
    networks('host: { subnets: [10.0.0.0/24] }'),
    'networks.host: the name host is kept for the port of the host; take another',
  ],
  [
    'endpoint named host',
    `${BLUE}endpoints: { host: { network: blue, netns: /a } }`,
    'endpoints.host: the name host is kept for the port of the host; take another',
  ],
  ['host no boolean', network('host: "yes"'), 'networks.blue.host: expected true or false, got "yes"'],
  [
    'gateway MAC of a group',
    network('gateway_mac: 01:00:5e:00:00:01'),
    'networks.blue.gateway_mac: expected a unicast MAC address (first octet even, not all zero), got "01:00:5e:00:00:01"',
  ],
  [
    'range outside',
    network('range: [172.31.0.0/25]'),
    'networks.blue.range[0]: expected a part of 172.30.0.0/24, got 172.31.0.0/25',
  ],
  [
    'range larger than its subnet',
    network('range: [172.30.0.0/16]'),
    'networks.blue.range[0]: expected a part of 172.30.0.0/24, got 172.30.0.0/16',
  ],
  [
    'two ranges in a subnet',
    network('range: [172.30.0.0/26, 172.30.0.128/25]'),
    'networks.blue.range[1]: expected one range for each subnet, got 172.30.0.128/25 as another',
  ],
  [
    'range with host bits',
    network('range: [172.30.0.1/25]'),
    'networks.blue.range[0]: expected 172.30.0.0/25, the prefix without host bits, got "172.30.0.1/25"',
  ],
  [
    'advertisements without IPv6',
    network('router_advertisements: { enabled: true }'),
    'networks.blue.router_advertisements: needs an IPv6 subnet',
  ],
  [
    'advertisements too often',
    network('router_advertisements: { enabled: true, interval: 3 }'),
    'networks.blue.router_advertisements.interval: expected an integer from 4 to 1800, got 3',
  ],
  [
    'advertisements that run out before the next',
    network('router_advertisements: { interval: 100, lifetime: 99 }'),
    'networks.blue.router_advertisements.lifetime: expected 0 or at least the interval of 100, got 99',
  ],
  [
    'unknown advertisement key',
    network('router_advertisements: { dns: true }'),
    'networks.blue.router_advertisements.dns: unknown key; expected one of enabled, interval, lifetime, autonomous, managed, other',
  ],
  [
    'proxy with host bits',
    network('proxy: [172.31.0.1/24]'),
    'networks.blue.proxy[0]: expected 172.31.0.0/24, the prefix without host bits, got "172.31.0.1/24"',
  ],
  [
    'proxy of a multicast range',
    network('proxy: [224.1.0.0/16]'),
    'networks.blue.proxy[0]: expected a prefix outside the multicast range 224.0.0.0/4, got "224.1.0.0/16"',
  ],
  [
    'subnet on the links to the host',
    networks('blue: { subnets: [169.254.0.0/16], host: true }'),
    'networks.blue.subnets[0]: 169.254.0.0/16 overlaps 169.254.42.0/24, the links to the host; choose another',
  ],
  [
    'gateway of the outside wire',
    `${network('host: true')}uplink: { device: up0, mode: bridged, network: blue }`,
    'networks.blue.host: the uplink is bridged into this network: its gateway is outside; leave this out',
  ],
  [
    'VRF of the outside wire',
    `${network('vrf: lab')}uplink: { device: up0, mode: bridged, network: blue }`,
    'networks.blue.vrf: the uplink is bridged into this network: its gateway is outside; leave this out',
  ],
  [
    'priority no number',
    `${BLUE}endpoints: { a: { network: blue, netns: /a, gateway_priority: high } }`,
    'endpoints.a.gateway_priority: expected an integer from -1000000 to 1000000, got "high"',
  ],
  [
    'one address in two networks of a VRF that overlap nowhere',
    `${BLUE}endpoints: { a: { network: blue, netns: /a, addresses: [172.30.0.5] }, b: { network: blue, netns: /b, addresses: [172.30.0.5] } }`,
    'endpoints.b.addresses[0]: 172.30.0.5 is already an address of endpoint a',
  ],
  // VRFs and routes.
  [
    'VRF name',
    'vrfs: { "a b": {} }',
    'vrfs["a b"]: expected a name of letters, digits, "_", "." and "-" that begins with a letter or digit, 128 characters at most',
  ],
  [
    'VRF key',
    'vrfs: { lab: { nat: true } }',
    'vrfs.lab.nat: unknown key; expected one of interconnect, routes, ip_options',
  ],
  [
    'VRF options',
    'vrfs: { lab: { ip_options: { source_route: true } } }',
    'vrfs.lab.ip_options.source_route: unknown key; expected one of record_route, timestamp',
  ],
  [
    'route without target',
    routes('{ to: 10.9.0.0/16 }'),
    'vrfs.default.routes[0]: expected exactly one of via and type, got none of them',
  ],
  [
    'route with both',
    routes('{ to: 10.9.0.0/16, via: 172.30.0.2, type: blackhole }'),
    'vrfs.default.routes[0]: expected exactly one of via and type, got both',
  ],
  [
    'route to nowhere',
    routes('{ via: 172.30.0.2 }'),
    'vrfs.default.routes[0].to: missing; expected a prefix such as 10.9.0.0/16, or an address',
  ],
  [
    'route with host bits',
    routes('{ to: 10.9.0.1/16, via: 172.30.0.2 }'),
    'vrfs.default.routes[0].to: expected 10.9.0.0/16, the prefix without host bits, got "10.9.0.1/16"',
  ],
  [
    'route to multicast',
    routes('{ to: "ff05::/16", via: "fd00:30::2" }'),
    'vrfs.default.routes[0].to: expected a prefix outside the multicast range ff00::/8, got "ff05::/16"',
  ],
  [
    'route type',
    routes('{ to: 10.9.0.0/16, type: reject }'),
    'vrfs.default.routes[0].type: expected one of blackhole, unreachable, prohibit, got "reject"',
  ],
  [
    'route metric',
    routes('{ to: 10.9.0.0/16, via: 172.30.0.2, metric: -1 }'),
    'vrfs.default.routes[0].metric: expected an integer from 0 to 2147483647, got -1',
  ],
  [
    'via no address',
    routes('{ to: 10.9.0.0/16, via: a }'),
    'vrfs.default.routes[0].via: expected the address of a next hop, got "a"',
  ],
  [
    'via nothing',
    routes('{ to: 10.9.0.0/16, via: [] }'),
    'vrfs.default.routes[0].via: expected at least one entry in the list of next hops, got an empty list',
  ],
  [
    'via of the other family',
    routes('{ to: 10.9.0.0/16, via: "fd00:30::2" }'),
    'vrfs.default.routes[0].via: expected an IPv4 address, as 10.9.0.0/16 is IPv4, got fd00:30::2',
  ],
  [
    'via twice',
    routes('{ to: 10.9.0.0/16, via: [172.30.0.2, 172.30.0.2] }'),
    'vrfs.default.routes[0].via[1]: 172.30.0.2 given twice',
  ],
  [
    'via on no link',
    routes('{ to: 10.9.0.0/16, via: 10.5.0.1 }'),
    'vrfs.default.routes[0].via: expected a next hop on a link of VRF default: in 172.30.0.0/24 (network blue), got 10.5.0.1',
  ],
  [
    'via in another VRF',
    `${BLUE}vrfs: { lab: { routes: [{ to: 10.9.0.0/16, via: 172.30.0.2 }] } }`,
    'vrfs.lab.routes[0].via: no network or uplink is in VRF lab, so no next hop is within reach, got 172.30.0.2',
  ],
  [
    'via the router itself',
    routes('{ to: 10.9.0.0/16, via: 172.30.0.1 }'),
    "vrfs.default.routes[0].via: 172.30.0.1 is the router's own address in network blue",
  ],
  [
    'via a broadcast address',
    routes('{ to: 10.9.0.0/16, via: [172.30.0.2, 172.30.0.255] }'),
    'vrfs.default.routes[0].via[1]: 172.30.0.255 is the broadcast address of network blue',
  ],
  [
    'link-local without its link',
    routes('{ to: "fd09::/48", via: "fe80::1" }'),
    'vrfs.default.routes[0].via: expected the address of a next hop, or a link-local one with its interface, such as fe80::1%uplink, got "fe80::1"',
  ],
  [
    'link-local on a link that is not there',
    routes('{ to: "fd09::/48", via: "fe80::1%uplink" }'),
    'vrfs.default.routes[0].via: no interface uplink in VRF default; expected one of blue behind the %',
  ],
  [
    'interface where none is needed',
    routes('{ to: 10.9.0.0/16, via: 172.30.0.2%blue }'),
    'vrfs.default.routes[0].via: expected 172.30.0.2 alone: only link-local addresses need more, got "172.30.0.2%blue"',
  ],
  [
    'route to a subnet',
    routes('{ to: 172.30.0.0/24, type: blackhole }'),
    'vrfs.default.routes[0].to: 172.30.0.0/24 is the subnet of network blue; it needs no route',
  ],
  [
    'route to the gateway',
    routes('{ to: 172.30.0.1, type: blackhole }'),
    "vrfs.default.routes[0].to: 172.30.0.1/32 is the router's own address in network blue; it needs no route",
  ],
  [
    'route to a broadcast',
    routes('{ to: 172.30.0.255, type: blackhole }'),
    'vrfs.default.routes[0].to: 172.30.0.255/32 is a broadcast address of network blue; it needs no route',
  ],
  [
    'one route twice',
    routes('{ to: 10.9.0.0/16, via: 172.30.0.2 }, { to: 10.9.0.0/16, via: 172.30.0.3 }'),
    'vrfs.default.routes[1]: routes[0] also leads to 10.9.0.0/16 with metric 100; give them different metrics, or one route with a list of next hops',
  ],
  // Uplinks.
  [
    'own gateway off the wire',
    own(', gateway: 10.78.0.1'),
    'uplink.gateway: expected an address on the wire of 10.77.0.1/24 or fd77::1/64, got 10.78.0.1',
  ],
  [
    'gateway and gateways',
    own(', gateway: 10.77.0.254, gateways: ["fd77::fe"]'),
    'uplink.gateways: expected either gateway or gateways, got both',
  ],
  [
    'two gateways of a family',
    own(', gateways: [10.77.0.254, 10.77.0.253]'),
    'uplink.gateways[1]: expected one gateway for each family, got 10.77.0.253 as another',
  ],
  ['own address as the gateway', own(', gateway: 10.77.0.1'), "uplink.gateway: 10.77.0.1 is the uplink's own address"],
  [
    'network address',
    uplink('mode: own, addresses: [10.77.0.0/24]'),
    'uplink.addresses[0]: 10.77.0.0 is the network address of its wire',
  ],
  [
    'broadcast address',
    uplink('mode: own, addresses: [10.77.0.255/24]'),
    'uplink.addresses[0]: 10.77.0.255 is the broadcast address of its wire',
  ],
  [
    'address twice',
    uplink('mode: own, addresses: [10.77.0.1/24, 10.77.0.1/16]'),
    'uplink.addresses[1]: 10.77.0.1 given twice',
  ],
  [
    'loopback',
    uplink('mode: own, addresses: [127.0.0.1/8]'),
    'uplink.addresses[0]: expected an address outside the loopback range 127.0.0.0/8, got "127.0.0.1/8"',
  ],
  [
    'shared with addresses',
    uplink('mode: shared, addresses: [10.77.0.1/24]'),
    'uplink.addresses: unknown key; expected one of device, mode, offload, outlet, vrf',
  ],
  [
    'own with a proxy',
    own(', proxy: [10.77.0.128/25]'),
    'uplink.proxy: unknown key; expected one of device, mode, offload, outlet, addresses, gateway, gateways, vrf, mac',
  ],
  [
    'proxy of the gateway',
    uplink('mode: routed, addresses: [10.77.0.1/24], gateway: 10.77.0.254, proxy: [10.77.0.128/25]'),
    "uplink.proxy[0]: 10.77.0.128/25 covers 10.77.0.254, which is the uplink's or its gateway's",
  ],
  [
    'subnet within the wire that nobody answers for',
    uplink('mode: routed, addresses: [172.30.1.1/16]'),
    'uplink.addresses[0]: 172.30.1.1/16 overlaps 172.30.0.0/24 of network blue; add 172.30.0.0/24 to the proxy of the uplink',
  ],
  [
    'subnet within the wire of its own',
    uplink('mode: own, addresses: [172.30.1.1/16]'),
    'uplink.addresses[0]: 172.30.1.1/16 overlaps 172.30.0.0/24 of network blue',
  ],
  [
    'wire that is the subnet',
    uplink('mode: routed, addresses: [172.30.0.9/24], proxy: [172.30.0.0/24]'),
    'uplink.addresses[0]: 172.30.0.9/24 overlaps 172.30.0.0/24 of network blue',
  ],
];

for (const [what, yaml, line] of BAD) {
  test(`refused: ${what}`, (t) => {
    // A file may have more mistakes than the one that it is about; the first must be that.
    t.is(lineOf(yaml).replace(/ \(and \d+ more\)$/, ''), line);
  });
}

/** What is allowed though it looks as if it were not. */
const GOOD: readonly (readonly [string, string])[] = [
  [
    'overlaps of different VRFs',
    networks('a: { subnets: [10.0.0.0/24], vrf: x }, b: { subnets: [10.0.0.0/24], vrf: y }'),
  ],
  [
    'one address in two VRFs',
    `${networks('a: { subnets: [10.0.0.0/24], vrf: x }, b: { subnets: [10.0.0.0/24], vrf: y }')}endpoints: { c: { network: a, netns: /c, addresses: [10.0.0.5] }, d: { network: b, netns: /d, addresses: [10.0.0.5] } }`,
  ],
  ['a wire that overlaps a network of another VRF', uplink('mode: own, addresses: [172.30.0.9/24], vrf: out')],
  ['a subnet within the wire with a proxy', uplink('mode: routed, addresses: [172.30.1.1/16], proxy: [172.30.0.0/24]')],
  ['a link-local gateway', own(', gateways: [10.77.0.254, "fe80::1"]')],
  ['a point-to-point wire', uplink('mode: own, addresses: [10.77.0.0/31, "fd77::/127"], gateway: 10.77.0.1')],
  ['a route by the uplink', `${own('')}vrfs: { default: { routes: [{ to: 10.9.0.0/16, via: 10.77.0.7 }] } }`],
  [
    'a route by whatever wire the host has',
    `${uplink('mode: shared')}vrfs: { default: { routes: [{ to: 10.9.0.0/16, via: 192.0.2.9 }] } }`,
  ],
  ['a link-local next hop', routes('{ to: "fd09::/48", via: "fe80::1%blue" }')],
  ['a default route', routes('{ to: 0.0.0.0/0, via: 172.30.0.2 }, { to: "::/0", via: "fd00:30::2" }')],
  ['two metrics', routes('{ to: 10.9.0.0/16, via: 172.30.0.2 }, { to: 10.9.0.0/16, type: blackhole, metric: 200 }')],
  ['a route into a part of a subnet', routes('{ to: 172.30.0.64/26, via: 172.30.0.2 }')],
  [
    'a VRF without networks',
    'vrfs: { lab: { interconnect: false, routes: [{ to: 10.9.0.0/16, type: unreachable }] } }',
  ],
];

for (const [what, yaml] of GOOD) {
  test(`accepted: ${what}`, (t) => {
    t.is(lineOf(yaml), 'accepted');
  });
}

test('routes in canonical text', (t) => {
  const { vrfs } = parse(
    routes('{ to: 10.9.9.9, via: 172.30.0.2 }, { to: "FD09:0::/48", via: ["FD00:30::2", "FE80::1%blue"], metric: 7 }'),
  );
  t.deepEqual(vrfs.get('default'), {
    routes: [
      { to: '10.9.9.9/32', via: ['172.30.0.2'], metric: 100 },
      { to: 'fd09::/48', via: ['fd00:30::2', 'fe80::1%blue'], metric: 7 },
    ],
    ip_options: { record_route: false, timestamp: false },
  });
});

test('uplinks of the router have their defaults', (t) => {
  t.deepEqual(parse(own(', gateway: 10.77.0.254')).uplink, {
    device: 'up0',
    mode: 'own',
    offload: true,
    outlet: true,
    addresses: ['10.77.0.1/24', 'fd77::1/64'],
    gateway: '10.77.0.254',
    gateways: [],
    vrf: 'default',
  });
  t.deepEqual(parse(uplink('mode: shared')).uplink, {
    device: 'up0',
    mode: 'shared',
    offload: true,
    outlet: true,
    vrf: 'default',
  });
});
