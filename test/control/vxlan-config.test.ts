/** What a file says of overlays: what holds where it says nothing, and each mistake in one line. */

import test from 'ava';
import { parseConfiguration } from '../../control/config/load.js';
import { readWith } from '../../control/config/read.js';
import { networkSchema, type VxlanConfig } from '../../control/config/schema.js';
import { vxlanOverhead } from '../../control/config/vxlan.js';
import { config, makeFixture } from './support/fixture.js';

const OWN =
  'uplink: { device: up0, mode: own, addresses: [10.77.0.1/24, "fd00:77::1/64"], gateway: 10.77.0.254, vrf: default }\n';
const ROUTED = OWN.replace('own', 'routed');
const SHARED = 'uplink: { device: up0, mode: shared }\n';
const BRIDGED = 'uplink: { device: up0, mode: bridged, network: red }\n';
const NETWORK = 'subnets: [172.30.0.0/24, "fd00:30::/64"]';

/** A file with one overlay. @param vxlan its keys @param network more of its network */
function overlay(vxlan: string, network = '', uplink = OWN): string {
  const more = network === '' ? '' : `, ${network}`;
  return `${uplink}networks:\n  blue: { ${NETWORK}, vxlan: { ${vxlan} }${more} }\n  red: { subnets: [172.31.0.0/24] }\n`;
}

const ENDS = 'vni: 42, local: 10.77.0.1';
const ENDS6 = 'vni: 42, local: "fd00:77::1"';
const with4 = (more: string): string => overlay(`${ENDS}, ${more}`);

const KEYS =
  'expected one of vni, local, remotes, port, group, learning, open, ttl, dscp, checksum, gbp, suppress, vlan, fdb, neighbors';
const GROUP = 'expected a multicast address such as 239.1.1.1 or ff05::1:1';
const ENTRY_MAC = 'expected a MAC address such as 02:42:ac:1e:00:02, or 00:00:00:00:00:00';
const DSCP = 'expected inherit or an integer from 0 to 63';
const UPLINK = 'needs an uplink of mode own, shared or routed';
const ZERO = '00:00:00:00:00:00';
const MAC = '02:00:00:00:00:09';
const entries = (...list: string[]): string => with4(`fdb: [${list.map((entry) => `{ ${entry} }`).join(', ')}]`);
const neighbors = (...list: string[]): string =>
  with4(`neighbors: [${list.map((one) => `{ ${one}, mac: ${MAC} }`).join(', ')}]`);

/** Two networks at one UDP port, but for what is said of the second. */
const pair = (second: string): string =>
  `${OWN}networks:\n  blue: { subnets: [172.30.0.0/24], vxlan: { ${ENDS} } }\n  red: { subnets: [172.31.0.0/24], vxlan: { ${second} } }\n`;

const published = (spec: string, vxlan = ENDS, uplink = OWN): string =>
  `${overlay(vxlan, '', uplink)}endpoints: { a: { network: red, netns: /a, publish: ["${spec}"] } }\n`;
const listening = (spec: string, vxlan = ENDS): string =>
  `${overlay(vxlan)}services: { dns: { network: red, listen: ["${spec}"], backends: [] } }\n`;

/** What is wrong, the file behind its first line, and the exact line behind the file's name. */
const BAD: readonly (readonly [string, string, string])[] = [
  // Its own keys.
  ['no VNI', overlay('local: 10.77.0.1'), 'blue.vxlan.vni: missing; expected an integer from 1 to 16777215'],
  ['VNI 0', overlay('vni: 0, local: 10.77.0.1'), 'blue.vxlan.vni: expected an integer from 1 to 16777215, got 0'],
  [
    'VNI of 25 bits',
    overlay('vni: 16777216, local: 10.77.0.1'),
    'blue.vxlan.vni: expected an integer from 1 to 16777215, got 16777216',
  ],
  [
    'VNI in text',
    overlay('vni: "42", local: 10.77.0.1'),
    'blue.vxlan.vni: expected an integer from 1 to 16777215, got "42"',
  ],
  ['no local', overlay('vni: 42'), 'blue.vxlan.local: missing; expected an IPv4 or IPv6 address'],
  [
    'no mapping',
    `${OWN}networks: { blue: { ${NETWORK}, vxlan: true } }`,
    'blue.vxlan: expected a mapping with vni and local, and remotes, group and so on where wanted, got true',
  ],
  ['unknown key', with4('remote: 10.77.0.2'), `blue.vxlan.remote: unknown key; ${KEYS}`],
  ['GPE', with4('gpe: true'), 'blue.vxlan.gpe: VXLAN-GPE is not supported'],
  ['GPE, and another mistake', with4('gpe: true, ttl: 0'), 'blue.vxlan.gpe: VXLAN-GPE is not supported (and 1 more)'],
  ['port 0', with4('port: 0'), 'blue.vxlan.port: expected an integer from 1 to 65535, got 0'],
  ['port too large', with4('port: 65536'), 'blue.vxlan.port: expected an integer from 1 to 65535, got 65536'],
  ['TTL 0', with4('ttl: 0'), 'blue.vxlan.ttl: expected an integer from 1 to 255, got 0'],
  ['TTL 256', with4('ttl: 256'), 'blue.vxlan.ttl: expected an integer from 1 to 255, got 256'],
  ['DSCP 64', with4('dscp: 64'), `blue.vxlan.dscp: ${DSCP}, got 64`],
  ['DSCP, half of one', with4('dscp: 0.5'), `blue.vxlan.dscp: ${DSCP}, got 0.5`],
  ['DSCP by name', with4('dscp: ef'), `blue.vxlan.dscp: ${DSCP}, got "ef"`],
  ['checksum', with4('checksum: 0'), 'blue.vxlan.checksum: expected true or false, got 0'],
  ['learning', with4('learning: "no"'), 'blue.vxlan.learning: expected true or false, got "no"'],
  ['open', with4('open: 1'), 'blue.vxlan.open: expected true or false, got 1'],
  ['suppress', with4('suppress: arp'), 'blue.vxlan.suppress: expected true or false, got "arp"'],
  ['GBP', with4('gbp: 65536'), 'blue.vxlan.gbp: expected an integer from 0 to 65535, got 65536'],
  [
    'remotes that are no list',
    with4('remotes: 10.77.0.2'),
    'blue.vxlan.remotes: expected a list of VTEP addresses, got "10.77.0.2"',
  ],
  ['entries that are no list', with4('fdb: {}'), 'blue.vxlan.fdb: expected a list of FDB entries, got a mapping'],
  [
    'neighbors that are no list',
    with4('neighbors: 172.30.0.9'),
    'blue.vxlan.neighbors: expected a list of neighbors, got "172.30.0.9"',
  ],
  // VLANs.
  [
    'VLAN out of range',
    overlay(`${ENDS}, vlan: 4095`, 'vlan_filtering: true'),
    'blue.vxlan.vlan: VLAN out of range: 4095 is reserved; expected an integer from 1 to 4094, got 4095',
  ],
  ['VLAN without filtering', with4('vlan: 10'), 'blue.vxlan.vlan: needs vlan_filtering: true'],
  [
    'filtering without a VLAN',
    overlay(ENDS, 'vlan_filtering: true'),
    'blue.vxlan: needs vlan, the one that it carries, as vlan_filtering is true',
  ],
  // Its uplink.
  ['no uplink', overlay(ENDS, '', ''), `blue.vxlan: ${UPLINK}; there is none`],
  ['a bridged uplink', overlay(ENDS, '', BRIDGED), `blue.vxlan: ${UPLINK}, got bridged`],
  [
    'an address that an own uplink has not',
    overlay('vni: 42, local: 10.77.0.3'),
    'blue.vxlan.local: expected an address of the uplink, 10.77.0.1 or fd00:77::1, got 10.77.0.3',
  ],
  [
    'an address that a routed uplink has not',
    overlay('vni: 42, local: "fd00:77::3"', '', ROUTED),
    'blue.vxlan.local: expected an address of the uplink, 10.77.0.1 or fd00:77::1, got fd00:77::3',
  ],
  // Addresses that no VTEP has.
  [
    'local unspecified',
    overlay('vni: 42, local: 0.0.0.0', '', SHARED),
    'blue.vxlan.local: expected an address outside the this-network range 0.0.0.0/8, got "0.0.0.0"',
  ],
  [
    'local loopback',
    overlay('vni: 42, local: 127.0.0.1', '', SHARED),
    'blue.vxlan.local: expected an address outside the loopback range 127.0.0.0/8, got "127.0.0.1"',
  ],
  [
    'local multicast',
    overlay('vni: 42, local: "ff05::1"', '', SHARED),
    'blue.vxlan.local: expected an address outside the multicast range ff00::/8, got "ff05::1"',
  ],
  [
    'local link-local',
    overlay('vni: 42, local: "fe80::1"', '', SHARED),
    'blue.vxlan.local: expected an address outside the link-local range fe80::/10, got "fe80::1"',
  ],
  [
    'local with a length',
    overlay('vni: 42, local: 10.77.0.1/24'),
    'blue.vxlan.local: expected an IPv4 or IPv6 address, got "10.77.0.1/24"',
  ],
  [
    'remote that is none',
    with4('remotes: [nowhere]'),
    'blue.vxlan.remotes[0]: expected an IPv4 or IPv6 address, got "nowhere"',
  ],
  [
    'remote multicast',
    with4('remotes: [10.77.0.2, 239.1.1.1]'),
    'blue.vxlan.remotes[1]: expected an address outside the multicast range 224.0.0.0/4, got "239.1.1.1"',
  ],
  [
    'remote broadcast',
    with4('remotes: [255.255.255.255]'),
    'blue.vxlan.remotes[0]: expected an address outside the reserved range 240.0.0.0/4, got "255.255.255.255"',
  ],
  [
    'remote unspecified',
    overlay(`${ENDS6}, remotes: ["::"]`),
    'blue.vxlan.remotes[0]: expected an address outside the unspecified, loopback and IPv4-mapped range ::/16, got "::"',
  ],
  [
    'remote loopback',
    overlay(`${ENDS6}, remotes: ["::1"]`),
    'blue.vxlan.remotes[0]: expected an address outside the unspecified, loopback and IPv4-mapped range ::/16, got "::1"',
  ],
  [
    "remote: the wire's broadcast",
    with4('remotes: [10.77.0.255]'),
    "blue.vxlan.remotes[0]: 10.77.0.255 is the broadcast address of the uplink's wire",
  ],
  [
    "remote: the wire's routers",
    overlay(`${ENDS6}, remotes: ["fd00:77::"]`),
    "blue.vxlan.remotes[0]: fd00:77:: is the subnet-router anycast address of the uplink's wire",
  ],
  [
    'remote: itself',
    with4('remotes: [10.77.0.2, 10.77.0.1]'),
    'blue.vxlan.remotes[1]: 10.77.0.1 is the address of the VTEP itself',
  ],
  [
    'remote: itself, written otherwise',
    overlay(`${ENDS6}, remotes: ["FD00:77:0::1"]`),
    'blue.vxlan.remotes[0]: fd00:77::1 is the address of the VTEP itself',
  ],
  [
    'remote: another address of the uplink',
    overlay(`${ENDS}, remotes: [10.77.0.5]`, '', OWN.replace('"fd00:77::1/64"', '10.77.0.5/24')),
    'blue.vxlan.remotes[0]: 10.77.0.5 is an address of this uplink',
  ],
  ['remote twice', with4('remotes: [10.77.0.2, 10.77.0.3, 10.77.0.2]'), 'blue.vxlan.remotes[2]: 10.77.0.2 given twice'],
  [
    'remote of the other family',
    with4('remotes: ["fd00:77::2"]'),
    'blue.vxlan.remotes[0]: expected an address of the family of local 10.77.0.1, got fd00:77::2',
  ],
  [
    'remote within a network',
    with4('remotes: [172.31.0.7]'),
    'blue.vxlan.remotes[0]: expected an address outside, got 172.31.0.7, which is in 172.31.0.0/24 of network red',
  ],
  // Groups.
  ['group that is none', with4('group: all'), `blue.vxlan.group: ${GROUP}, got "all"`],
  ['group that is one host', with4('group: 10.77.0.9'), `blue.vxlan.group: ${GROUP}, got "10.77.0.9"`],
  [
    'group of the other family',
    with4('group: "ff05::42"'),
    'blue.vxlan.group: expected an address of the family of local 10.77.0.1, got ff05::42',
  ],
  // Entries.
  ['entry without a VTEP', entries(`mac: ${MAC}`), 'blue.vxlan.fdb[0].vtep: missing; expected an IPv4 or IPv6 address'],
  ['entry without a MAC', entries('vtep: 10.77.0.2'), `blue.vxlan.fdb[0].mac: missing; ${ENTRY_MAC}`],
  ['entry of no MAC', entries('mac: 1, vtep: 10.77.0.2'), `blue.vxlan.fdb[0].mac: ${ENTRY_MAC}, got 1`],
  [
    'entry of a group',
    entries('mac: 01:00:5e:00:00:01, vtep: 10.77.0.2'),
    'blue.vxlan.fdb[0].mac: expected a unicast MAC address (first octet even), got "01:00:5e:00:00:01"',
  ],
  [
    'entry with more',
    entries(`mac: ${MAC}, vtep: 10.77.0.2, vni: 7`),
    'blue.vxlan.fdb[0].vni: unknown key; expected one of mac, vtep',
  ],
  [
    'entry at itself',
    entries(`mac: ${MAC}, vtep: 10.77.0.1`),
    'blue.vxlan.fdb[0].vtep: 10.77.0.1 is the address of the VTEP itself',
  ],
  [
    'entry of the other family',
    entries(`mac: ${MAC}, vtep: "fd00:77::2"`),
    'blue.vxlan.fdb[0].vtep: expected an address of the family of local 10.77.0.1, got fd00:77::2',
  ],
  [
    'entry at a group',
    entries(`mac: ${MAC}, vtep: 239.1.1.1`),
    'blue.vxlan.fdb[0].vtep: expected an address outside the multicast range 224.0.0.0/4, got "239.1.1.1"',
  ],
  [
    'entry twice',
    entries(`mac: ${MAC}, vtep: 10.77.0.2`, `mac: ${MAC}, vtep: 10.77.0.3`),
    `blue.vxlan.fdb[1].mac: ${MAC} given twice, at 10.77.0.2 and 10.77.0.3`,
  ],
  [
    'all MACs at one VTEP, twice',
    entries(`mac: "${ZERO}", vtep: 10.77.0.2`, `mac: "${ZERO}", vtep: 10.77.0.2`),
    `blue.vxlan.fdb[1].mac: ${ZERO} at 10.77.0.2 given twice`,
  ],
  // Neighbors.
  [
    'neighbor elsewhere',
    neighbors('address: 10.0.0.9'),
    'blue.vxlan.neighbors[0].address: expected an address in 172.30.0.0/24 or fd00:30::/64 of network blue, got 10.0.0.9',
  ],
  [
    'neighbor: the gateway',
    neighbors('address: 172.30.0.1'),
    'blue.vxlan.neighbors[0].address: 172.30.0.1 is the gateway address of network blue',
  ],
  [
    'neighbor: broadcast',
    neighbors('address: 172.30.0.255'),
    'blue.vxlan.neighbors[0].address: 172.30.0.255 is the broadcast address of network blue',
  ],
  [
    'neighbor twice',
    neighbors('address: 172.30.0.9', 'address: 172.30.0.9'),
    'blue.vxlan.neighbors[1].address: 172.30.0.9 given twice',
  ],
  [
    'neighbor of no MAC',
    with4(`neighbors: [{ address: 172.30.0.9, mac: "${ZERO}" }]`),
    `blue.vxlan.neighbors[0].mac: expected a unicast MAC address (first octet even, not all zero), got "${ZERO}"`,
  ],
  [
    'neighbor without an address',
    with4(`neighbors: [{ mac: ${MAC} }]`),
    'blue.vxlan.neighbors[0].address: missing; expected an IPv4 or IPv6 address',
  ],
  // Others.
  [
    'a VNI twice at one port',
    pair('vni: 42, local: 10.77.0.1'),
    'red.vxlan.vni: 42 is the VNI of network blue at UDP port 4789; choose another VNI, or another port',
  ],
  [
    'a VNI twice at one port, over IPv6',
    pair('vni: 42, local: "fd00:77::1"'),
    'red.vxlan.vni: 42 is the VNI of network blue at UDP port 4789; choose another VNI, or another port',
  ],
  // Its MTU, as far as that is known.
  [
    'MTU too small for IPv6',
    overlay(ENDS, 'mtu: 1279'),
    'blue.mtu: expected at least 1280 for a network with an IPv6 subnet, got 1279',
  ],
];

function lineOf(yaml: string): string {
  try {
    parseConfiguration(`version: 1\n${yaml}`, 'f.yaml');
  } catch (error) {
    return (error as Error).message;
  }
  return 'no error';
}

for (const [what, yaml, line] of BAD) test(`refused: ${what}`, (t) => t.is(lineOf(yaml), `f.yaml: networks.${line}`));

const TAKEN = 'choose other ports, or another address';

for (const [what, yaml, line] of [
  [
    'a published port',
    published('10.77.0.1:4789:53/udp'),
    'endpoints.a.publish[0]: 10.77.0.1:4789:53/udp is taken by 10.77.0.1:4789/udp of network blue',
  ],
  [
    'a range of them',
    published('4000-5000:4000-5000/udp'),
    'endpoints.a.publish[0]: 4000-5000:4000-5000/udp is taken by 10.77.0.1:4789/udp of network blue',
  ],
  [
    'one at a port of its own',
    published('8472:53/udp', `${ENDS}, port: 8472`),
    'endpoints.a.publish[0]: 8472:53/udp is taken by 10.77.0.1:8472/udp of network blue',
  ],
  [
    'one of a host',
    published('10.77.0.1:4789:53/udp', ENDS, SHARED),
    'endpoints.a.publish[0]: 10.77.0.1:4789:53/udp is taken by 10.77.0.1:4789/udp of network blue',
  ],
  [
    'a listener',
    listening('10.77.0.1:4789/udp'),
    'services.dns.listen[0]: 10.77.0.1:4789/udp is taken by 10.77.0.1:4789/udp of network blue',
  ],
  [
    'a listener everywhere',
    listening('4789/udp'),
    'services.dns.listen[0]: 4789/udp is taken by 10.77.0.1:4789/udp of network blue',
  ],
  [
    'an overlay over IPv6',
    listening('4789/udp', ENDS6),
    'services.dns.listen[0]: 4789/udp is taken by [fd00:77::1]:4789/udp of network blue',
  ],
] as const)
  test(`its port is taken: ${what}`, (t) => t.is(lineOf(yaml), `f.yaml: ${line}; ${TAKEN}`));

/** What may be, each a file. */
const GOOD: readonly (readonly [string, string])[] = [
  ['alone: VTEPs come by command', overlay(ENDS)],
  ['over IPv6', overlay(`${ENDS6}, remotes: ["fd00:77::2"], group: "ff05::42"`)],
  ['a routed uplink', overlay(ENDS, '', ROUTED)],
  [
    'an address of the host that is not known yet',
    overlay('vni: 42, local: 192.0.2.1, remotes: [192.0.2.2]', '', SHARED),
  ],
  ['a remote far away', with4('remotes: [203.0.113.9]')],
  ['two networks at one port', pair('vni: 43, local: 10.77.0.1')],
  ['one VNI at two ports', pair('vni: 42, local: 10.77.0.1, port: 8472')],
  ['the largest VNI', overlay('vni: 16777215, local: 10.77.0.1')],
  ['all MACs at two VTEPs', entries(`mac: "${ZERO}", vtep: 10.77.0.2`, `mac: "${ZERO}", vtep: 10.77.0.3`)],
  ['an entry at a remote', with4(`remotes: [10.77.0.2], fdb: [{ mac: ${MAC}, vtep: 10.77.0.2 }]`)],
  ['one VLAN of a network', overlay(`${ENDS}, vlan: 10`, 'vlan_filtering: true')],
  ['one packet less than fits', overlay(ENDS, 'mtu: 1280')],
  ['published beside it', published('10.77.0.1:4789:80/tcp')],
  ['published at another address', published('[fd00:77::1]:4789:53/udp').replace('172.31.0.0/24', '"fd00:31::/64"')],
  [
    'a remote within a network of another VRF',
    with4('remotes: [172.31.0.7]').replace('[172.31.0.0/24]', '[172.31.0.0/24], vrf: other'),
  ],
];

for (const [what, yaml] of GOOD) test(`accepted: ${what}`, (t) => t.is(lineOf(yaml), 'no error'));

function vxlanOf(yaml: string): VxlanConfig | undefined {
  return parseConfiguration(`version: 1\n${yaml}`, 'f.yaml').networks.get('blue')?.vxlan;
}

const DEFAULTS = {
  vni: 42,
  local: '10.77.0.1',
  remotes: [],
  port: 4789,
  learning: true,
  open: false,
  ttl: 64,
  group_ttl: 1,
  dscp: 0,
  checksum: true,
  suppress: true,
  fdb: [],
  neighbors: [],
};

test('what holds where nothing is said', (t) => {
  t.deepEqual(vxlanOf(overlay(ENDS)), DEFAULTS as unknown as VxlanConfig);
});

test('what follows from what is said', (t) => {
  t.like(vxlanOf(with4('group: 239.1.1.1')), { group: '239.1.1.1', open: true, ttl: 64, group_ttl: 1 });
  t.like(vxlanOf(with4('group: 239.1.1.1, open: false, ttl: 8')), { open: false, ttl: 8, group_ttl: 8 });
  t.like(vxlanOf(entries(`mac: ${MAC}, vtep: 10.77.0.2`)), { learning: false });
  t.like(vxlanOf(with4(`learning: true, fdb: [{ mac: ${MAC}, vtep: 10.77.0.2 }]`)), { learning: true });
  t.like(vxlanOf(with4('learning: false')), { learning: false });
});

test('all that can be said, in canonical text', (t) => {
  const yaml = overlay(
    `vni: 1, local: "FD00:77:0::1", remotes: ["FD00:77::2"], port: 8472, group: "FF05:0::42", dscp: inherit, checksum: false, gbp: 0, suppress: false, vlan: 7,
      fdb: [{ mac: 02:00:00:00:00:AA, vtep: "FD00:77::3" }], neighbors: [{ address: "FD00:30::9", mac: 02:00:00:00:00:AA }]`,
    'vlan_filtering: true',
  );
  t.deepEqual(vxlanOf(yaml), {
    ...DEFAULTS,
    vni: 1,
    local: 'fd00:77::1',
    remotes: ['fd00:77::2'],
    port: 8472,
    group: 'ff05::42',
    learning: false,
    open: true,
    dscp: 'inherit',
    checksum: false,
    gbp: 0,
    suppress: false,
    vlan: 7,
    fdb: [{ mac: '02:00:00:00:00:aa', vtep: 'fd00:77::3' }],
    neighbors: [{ address: 'fd00:30::9', mac: '02:00:00:00:00:aa' }],
  });
});

test('JSON says the same as YAML', (t) => {
  const vxlan = { vni: 42, local: '10.77.0.1', group: '239.1.1.1', gbp: 7 };
  const read = readWith(networkSchema, { subnets: ['172.30.0.0/24'], vxlan });
  t.deepEqual('value' in read ? read.value.vxlan : undefined, vxlanOf(with4('group: 239.1.1.1, gbp: 7')));
});

test('what a tunnel takes of the MTU', (t) => {
  t.is(vxlanOverhead('10.77.0.1'), 50);
  t.is(vxlanOverhead('fd00:77::1'), 70);
});

test('by command: an overlay that comes later is the one at fault', async (t) => {
  const made = makeFixture();
  made.system.devices.add('up0');
  made.system.addNamespace('/run/netns/a');
  const more = `endpoints: { a: { network: red, netns: /run/netns/a, publish: ["8472:53/udp"] } }
services: { dns: { network: red, listen: ["10.77.0.1:9999/udp"], backends: [] } }\n`;
  await made.daemon.apply(config(`version: 1\n${overlay(ENDS)}${more}`));
  const create = (vxlan: string) =>
    made.daemon.createNetwork('late', {
      ...config('version: 1\nnetworks: { late: { subnets: [172.29.0.0/24] } }').networks.get('late')!,
      vxlan: vxlanOf(overlay(vxlan))!,
    });
  await t.throwsAsync(create('vni: 7, local: 10.77.0.1, port: 8472'), {
    message: `vxlan.port: 10.77.0.1:8472/udp is taken by 8472:53/udp of endpoint a; ${TAKEN}`,
  });
  await t.throwsAsync(create('vni: 7, local: 10.77.0.1, port: 9999'), {
    message: `vxlan.port: 10.77.0.1:9999/udp is taken by 10.77.0.1:9999/udp of service dns; ${TAKEN}`,
  });
  await t.throwsAsync(create('vni: 42, local: 10.77.0.1'), {
    message: 'vxlan.vni: 42 is the VNI of network blue at UDP port 4789; choose another VNI, or another port',
  });
  await t.throwsAsync(made.daemon.publish('a', ['10.77.0.1:4789:53/udp']), {
    message: `publish[1]: 10.77.0.1:4789:53/udp is taken by 10.77.0.1:4789/udp of network blue; ${TAKEN}`,
  });
  const service = config(`version: 1\n${listening('10.77.0.1:5000/udp')}`).services.get('dns')!;
  await t.throwsAsync(made.daemon.createService('late', { ...service, listen: ['4789/udp'] }), {
    message: `listen[0]: 4789/udp is taken by 10.77.0.1:4789/udp of network blue; ${TAKEN}`,
  });
  await create('vni: 7, local: 10.77.0.1, port: 8473');
  await made.daemon.stop();
});
