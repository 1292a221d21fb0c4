import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadConfiguration, parseConfiguration } from '../../control/config/load.js';
import { TaplineError } from '../../control/errors.js';

function lineOf(yaml: string): string {
  try {
    parseConfiguration(yaml, 'f.yaml');
  } catch (error) {
    if (error instanceof TaplineError && error.kind === 'invalid') return error.message;
    throw error;
  }
  return 'accepted';
}

const BLUE = 'version: 1\nnetworks: { blue: { subnets: [172.30.0.0/24] } }\n';
const network = (body: string): string => `version: 1\nnetworks: { blue: { ${body} } }\n`;
const endpoint = (body: string): string => `${BLUE}endpoints: { a: { network: blue, netns: /run/netns/a, ${body} } }\n`;
const two = (a: string, b: string): string =>
  `${BLUE}endpoints: { a: { network: blue, ${a} }, b: { network: blue, ${b} } }\n`;
const vlanEndpoint = (body: string): string =>
  `version: 1\nnetworks: { lan: { subnets: [10.0.0.0/24], vlan_filtering: true } }\nendpoints: { a: { network: lan, netns: /a, ${body} } }\n`;
const mirrors = (body: string): string =>
  `${BLUE}endpoints: { a: { network: blue, netns: /a }, b: { network: blue, netns: /b }, c: { network: blue, netns: /c } }\nmirrors: { ${body} }\n`;
const uplink = (body: string): string => `${BLUE}uplink: { ${body} }\n`;

const NAME =
  'expected a name of letters, digits, "_", "." and "-" that begins with a letter or digit, 128 characters at most';
const INTERFACE = 'expected an interface name of 1 to 15 characters without spaces or any of /:%#\'"\\';
const PUBLISH = 'expected a published port such as "8080:80", "10.77.0.1:5201:5201/tcp" or "6000-6010:6000-6010/udp"';
const NETWORK_KEYS =
  'expected one of subnets, gateways, gateway_mac, range, vrf, mtu, internal, isolated, masquerade, nat66, nptv6, policy, host, source_validation, proxy, router_advertisements, ageing, fdb_limit, fdb_full, vlan_filtering, vlan_protocol, multicast, storm_control, loop_protection, vxlan';

/** What is wrong, the input, and the exact line behind the file's name. */
const BAD: readonly (readonly [string, string, string])[] = [
  // The file itself.
  ['empty', '', 'expected a mapping that begins with version: 1, got an empty file'],
  ['comment only', '# nothing\n', 'expected a mapping that begins with version: 1, got an empty file'],
  ['a list', '- 1', 'expected a mapping that begins with version: 1, got a list'],
  ['a scalar', 'hello', 'expected a mapping that begins with version: 1, got "hello"'],
  ['no version', 'networks: {}', 'version: missing; expected 1, the only version there is'],
  ['other version', 'version: 2', 'version: expected 1, the only version there is, got 2'],
  ['version in text', 'version: "1"', 'version: expected 1, the only version there is, got "1"'],
  [
    'unknown key',
    'version: 1\nfoo: 1',
    'foo: unknown key; expected one of version, uplink, vrfs, networks, endpoints, mirrors, services, policy, nat',
  ],
  [
    'not YAML',
    'version: 1\nnetworks: [',
    'line 2, column 12: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['two documents', 'version: 1\n---\nversion: 1', 'expected one YAML document, got 2'],
  ['unknown tag', 'version: !x 1', 'line 1, column 10: not valid YAML: Unresolved tag: !x'],
  ['duplicate key', 'version: 1\nnetworks: {}\nnetworks: {}', 'networks: key given twice, in lines 2 and 3'],
  ['duplicate name', `${BLUE}endpoints:\n  a: {}\n  a: {}`, 'endpoints.a: key given twice, in lines 4 and 5'],
  ['key that is a mapping', 'version: 1\n? {a: b}\n: 1', 'expected a plain text key, got a mapping'],
  ['prototype key', 'version: 1\n__proto__: {}', 'unknown key "__proto__"'],
  ['null section', 'version: 1\nnetworks:', 'networks: expected a mapping of names to networks, got nothing'],
  // Networks.
  ['network name', 'version: 1\nnetworks: { -x: { subnets: [10.0.0.0/24] } }', `networks.-x: ${NAME}`],
  [
    'network name with a space',
    'version: 1\nnetworks: { "a b": { subnets: [10.0.0.0/24] } }',
    `networks["a b"]: ${NAME}`,
  ],
  [
    'network named uplink',
    'version: 1\nnetworks: { uplink: { subnets: [10.0.0.0/24] } }',
    'networks.uplink: the name uplink is kept for the uplink; take another',
  ],
  ['no subnets', network(''), 'networks.blue.subnets: missing; expected a list of subnets'],
  [
    'empty subnets',
    network('subnets: []'),
    'networks.blue.subnets: expected at least one entry in the list of subnets, got an empty list',
  ],
  [
    'subnet no list',
    network('subnets: 10.0.0.0/24'),
    'networks.blue.subnets: expected a list of subnets, got "10.0.0.0/24"',
  ],
  [
    'subnet no CIDR',
    network('subnets: [10.0.0.0]'),
    'networks.blue.subnets[0]: expected a subnet such as 172.30.0.0/24 or fd00:30::/64, got "10.0.0.0"',
  ],
  [
    'host bits',
    network('subnets: [10.0.0.7/24]'),
    'networks.blue.subnets[0]: expected 10.0.0.0/24, the subnet without host bits, got "10.0.0.7/24"',
  ],
  [
    'prefix too long',
    network('subnets: [10.0.0.0/31]'),
    'networks.blue.subnets[0]: expected an IPv4 prefix length from 8 to 30, got "10.0.0.0/31"',
  ],
  [
    'prefix too long v6',
    network('subnets: ["fd00::/127"]'),
    'networks.blue.subnets[0]: expected an IPv6 prefix length from 16 to 126, got "fd00::/127"',
  ],
  [
    'prefix no number',
    network('subnets: [10.0.0.0/033]'),
    'networks.blue.subnets[0]: expected a subnet such as 172.30.0.0/24 or fd00:30::/64, got "10.0.0.0/033"',
  ],
  [
    'loopback',
    network('subnets: [127.1.0.0/16]'),
    'networks.blue.subnets[0]: expected a subnet outside the loopback range 127.0.0.0/8, got "127.1.0.0/16"',
  ],
  [
    'link-local v6',
    network('subnets: ["fe80::/64"]'),
    'networks.blue.subnets[0]: expected a subnet outside the link-local range fe80::/10, got "fe80::/64"',
  ],
  [
    'multicast',
    network('subnets: [239.0.0.0/8]'),
    'networks.blue.subnets[0]: expected a subnet outside the multicast range 224.0.0.0/4, got "239.0.0.0/8"',
  ],
  [
    'mtu small',
    network('subnets: [10.0.0.0/24], mtu: 67'),
    'networks.blue.mtu: expected an integer from 68 to 65521, got 67',
  ],
  [
    'mtu that no TAP can have',
    network('subnets: [10.0.0.0/24], mtu: 65522'),
    'networks.blue.mtu: expected an integer from 68 to 65521, got 65522',
  ],
  [
    'mtu fraction',
    network('subnets: [10.0.0.0/24], mtu: 1500.5'),
    'networks.blue.mtu: expected an integer from 68 to 65521, got 1500.5',
  ],
  [
    'mtu text',
    network('subnets: [10.0.0.0/24], mtu: big'),
    'networks.blue.mtu: expected an integer from 68 to 65521, got "big"',
  ],
  [
    'mtu with v6',
    network('subnets: ["fd00::/64"], mtu: 1279'),
    'networks.blue.mtu: expected at least 1280 for a network with an IPv6 subnet, got 1279',
  ],
  [
    'internal text',
    network('subnets: [10.0.0.0/24], internal: "no"'),
    'networks.blue.internal: expected true or false, got "no"',
  ],
  [
    'ageing',
    network('subnets: [10.0.0.0/24], ageing: 0'),
    'networks.blue.ageing: expected an integer from 10 to 1000000, got 0',
  ],
  [
    'fdb_limit',
    network('subnets: [10.0.0.0/24], fdb_limit: 0'),
    'networks.blue.fdb_limit: expected an integer from 1 to 1048576, got 0',
  ],
  [
    'unknown network key',
    network('subnets: [10.0.0.0/24], mtuu: 9'),
    `networks.blue.mtuu: unknown key; ${NETWORK_KEYS}`,
  ],
  [
    'several',
    network('subnets: [x], mtu: 1, foo: 2'),
    'networks.blue.subnets[0]: expected a subnet such as 172.30.0.0/24 or fd00:30::/64, got "x" (and 2 more)',
  ],
  [
    'gateway elsewhere',
    network('subnets: [10.0.0.0/24], gateways: [10.0.1.1]'),
    'networks.blue.gateways[0]: expected an address in 10.0.0.0/24, got 10.0.1.1',
  ],
  [
    'gateway broadcast',
    network('subnets: [10.0.0.0/24], gateways: [10.0.0.255]'),
    'networks.blue.gateways[0]: 10.0.0.255 is the broadcast address of its subnet',
  ],
  [
    'two gateways',
    network('subnets: [10.0.0.0/24], gateways: [10.0.0.1, 10.0.0.2]'),
    'networks.blue.gateways[1]: expected one gateway for each subnet, got 10.0.0.2 as another',
  ],
  [
    'overlap',
    'version: 1\nnetworks: { a: { subnets: [10.0.0.0/16] }, b: { subnets: [10.0.3.0/24] } }',
    'networks.b.subnets[0]: 10.0.3.0/24 overlaps 10.0.0.0/16 of network a',
  ],
  [
    'overlap v6',
    'version: 1\nnetworks: { a: { subnets: ["fd00:1::/32"] }, b: { subnets: ["FD00:1:2::/48"] } }',
    'networks.b.subnets[0]: fd00:1:2::/48 overlaps fd00:1::/32 of network a',
  ],
  [
    'overlap inside',
    network('subnets: [10.0.0.0/24, 10.0.0.128/25]'),
    'networks.blue.subnets[1]: 10.0.0.128/25 overlaps 10.0.0.0/24 of network blue',
  ],
  [
    'overlap of numbered names',
    'version: 1\nnetworks: { b: { subnets: [10.0.0.0/16] }, 1: { subnets: [10.0.3.0/24] } }',
    'networks.b.subnets[0]: 10.0.0.0/16 overlaps 10.0.3.0/24 of network 1',
  ],
  // Endpoints.
  ['no network', `${BLUE}endpoints: { a: { netns: /run/netns/a } }`, `endpoints.a.network: missing; ${NAME}`],
  [
    'unknown network',
    `${BLUE}endpoints: { a: { network: grey, netns: /run/netns/a } }`,
    'endpoints.a.network: expected the name of a network, got "grey"',
  ],
  [
    'no target',
    `${BLUE}endpoints: { a: { network: blue } }`,
    'endpoints.a: expected exactly one of netns, pid, container, got none of them',
  ],
  ['two targets', endpoint('pid: 7'), 'endpoints.a: expected exactly one of netns, pid, container, got netns and pid'],
  [
    'relative netns',
    `${BLUE}endpoints: { a: { network: blue, netns: a } }`,
    'endpoints.a.netns: expected an absolute path, got "a"',
  ],
  [
    'pid',
    `${BLUE}endpoints: { a: { network: blue, pid: 0 } }`,
    'endpoints.a.pid: expected an integer from 1 to 4194304, got 0',
  ],
  [
    'container name',
    `${BLUE}endpoints: { a: { network: blue, container: "x/y" } }`,
    `endpoints.a.container: ${NAME}, got "x/y"`,
  ],
  [
    'endpoint named uplink',
    `${BLUE}endpoints: { uplink: { network: blue, pid: 4 } }`,
    'endpoints.uplink: the name uplink is kept for the uplink; take another',
  ],
  ...['a#b', '#a', '"a', 'a\\'].map((name): [string, string, string] => [
    `interface ${name}, which is syntax of ip -batch`,
    endpoint(`interface: '${name}'`),
    `endpoints.a.interface: ${INTERFACE}, got ${JSON.stringify(name)}`,
  ]),
  ...['all', 'default'].map((name): [string, string, string] => [
    `interface ${name}`,
    endpoint(`interface: ${name}`),
    `endpoints.a.interface: expected an interface name that the kernel does not keep for itself, got "${name}"`,
  ]),
  [
    'interface length',
    endpoint('interface: abcdefghijklmnop'),
    `endpoints.a.interface: ${INTERFACE}, got "abcdefghijklmnop"`,
  ],
  ['interface slash', endpoint('interface: a/b'), `endpoints.a.interface: ${INTERFACE}, got "a/b"`],
  ['interface space', endpoint('interface: "a b"'), `endpoints.a.interface: ${INTERFACE}, got "a b"`],
  ['interface pattern', endpoint('interface: "eth%d"'), `endpoints.a.interface: ${INTERFACE}, got "eth%d"`],
  [
    'address',
    endpoint('addresses: [172.30.0.300]'),
    'endpoints.a.addresses[0]: expected an IPv4 or IPv6 address, got "172.30.0.300"',
  ],
  [
    'address with leading zero',
    endpoint('addresses: [172.30.0.010]'),
    'endpoints.a.addresses[0]: expected an IPv4 or IPv6 address, got "172.30.0.010"',
  ],
  [
    'address with zone',
    endpoint('addresses: ["fe80::1%eth0"]'),
    'endpoints.a.addresses[0]: expected an IPv4 or IPv6 address, got "fe80::1%eth0"',
  ],
  [
    'address with prefix',
    endpoint('addresses: [172.30.0.2/24]'),
    'endpoints.a.addresses[0]: expected an address without a prefix length, got "172.30.0.2/24"',
  ],
  [
    'address no list',
    endpoint('addresses: 172.30.0.2'),
    'endpoints.a.addresses: expected a list of addresses, got "172.30.0.2"',
  ],
  [
    'address elsewhere',
    endpoint('addresses: [172.31.0.2]'),
    'endpoints.a.addresses[0]: expected an address in 172.30.0.0/24 of network blue, got 172.31.0.2',
  ],
  [
    'network address',
    endpoint('addresses: [172.30.0.0]'),
    'endpoints.a.addresses[0]: 172.30.0.0 is the network address of network blue',
  ],
  [
    'broadcast address',
    endpoint('addresses: [172.30.0.255]'),
    'endpoints.a.addresses[0]: 172.30.0.255 is the broadcast address of network blue',
  ],
  [
    'gateway address',
    endpoint('addresses: [172.30.0.1]'),
    'endpoints.a.addresses[0]: 172.30.0.1 is the gateway address of network blue',
  ],
  [
    'configured gateway',
    'version: 1\nnetworks: { blue: { subnets: [10.0.0.0/24], gateways: [10.0.0.9] } }\nendpoints: { a: { network: blue, pid: 4, addresses: [10.0.0.9] } }',
    'endpoints.a.addresses[0]: 10.0.0.9 is the gateway address of network blue',
  ],
  [
    'duplicate address',
    two('netns: /a, addresses: [172.30.0.5]', 'netns: /b, addresses: [172.30.0.5]'),
    'endpoints.b.addresses[0]: 172.30.0.5 is already an address of endpoint a',
  ],
  [
    'duplicate address, one endpoint',
    endpoint('addresses: [172.30.0.5, 172.30.0.5]'),
    'endpoints.a.addresses[1]: 172.30.0.5 is already an address of endpoint a',
  ],
  [
    'mac syntax',
    endpoint('mac: 02-42-ac-1e-00-02'),
    'endpoints.a.mac: expected a MAC address such as 02:42:ac:1e:00:02, got "02-42-ac-1e-00-02"',
  ],
  [
    'mac multicast',
    endpoint('mac: 01:00:5e:00:00:01'),
    'endpoints.a.mac: expected a unicast MAC address (first octet even, not all zero), got "01:00:5e:00:00:01"',
  ],
  [
    'mac zero',
    endpoint('mac: 00:00:00:00:00:00'),
    'endpoints.a.mac: expected a unicast MAC address (first octet even, not all zero), got "00:00:00:00:00:00"',
  ],
  [
    'duplicate mac',
    two('netns: /a, mac: 02:00:00:00:00:0a', 'netns: /b, mac: 02:00:00:00:00:0A'),
    'endpoints.b.mac: 02:00:00:00:00:0a is already the MAC of endpoint a',
  ],
  [
    'same place',
    two('netns: /a', 'netns: /a'),
    'endpoints.b.interface: eth0 in netns /a already belongs to endpoint a',
  ],
  ['publish', endpoint('publish: ["80"]'), `endpoints.a.publish[0]: ${PUBLISH}, got "80"`],
  ['publish port', endpoint('publish: ["80:70000"]'), `endpoints.a.publish[0]: ${PUBLISH}, got "80:70000"`],
  [
    'publish ranges',
    endpoint('publish: ["80-81:90-92"]'),
    'endpoints.a.publish[0]: expected two port ranges of equal length, got "80-81:90-92"',
  ],
  [
    'publish protocol',
    endpoint('publish: ["80:80/icmp"]'),
    'endpoints.a.publish[0]: expected a published port of protocol tcp, udp or sctp, got "80:80/icmp"',
  ],
  [
    'publish address',
    endpoint('publish: ["10.0.0.256:80:80"]'),
    'endpoints.a.publish[0]: expected an IPv4 address or an IPv6 address in brackets to publish on, got "10.0.0.256:80:80"',
  ],
  // Uplink.
  ['uplink no mapping', `${BLUE}uplink: eth0`, 'uplink: expected a mapping with device and mode, got "eth0"'],
  ['uplink no mode', uplink('device: up0'), 'uplink.mode: missing; expected one of own, shared, bridged, routed'],
  [
    'uplink mode',
    uplink('device: up0, mode: nat'),
    'uplink.mode: expected one of own, shared, bridged, routed, got "nat"',
  ],
  ['uplink no device', uplink('mode: bridged, network: blue'), `uplink.device: missing; ${INTERFACE}`],
  ['uplink no network', uplink('device: up0, mode: bridged'), `uplink.network: missing; ${NAME}`],
  [
    'uplink unknown network',
    uplink('device: up0, mode: bridged, network: grey'),
    'uplink.network: expected the name of a network, got "grey"',
  ],
  [
    'uplink key of another mode',
    uplink('device: up0, mode: bridged, network: blue, addresses: []'),
    'uplink.addresses: unknown key; expected one of device, mode, offload, network, vlan, trunk, mac_limit, storm_control, multicast',
  ],
  [
    'uplink address',
    uplink('device: up0, mode: own, addresses: [10.77.0.1]'),
    'uplink.addresses[0]: expected an address with a prefix length, such as 10.77.0.1/24, got "10.77.0.1"',
  ],
  [
    'uplink overlap',
    uplink('device: up0, mode: own, addresses: [172.30.0.9/16]'),
    'uplink.addresses[0]: 172.30.0.9/16 overlaps 172.30.0.0/24 of network blue',
  ],
  [
    'uplink gateway',
    uplink('device: up0, mode: own, addresses: [10.77.0.1/24], gateway: 10.78.0.1'),
    'uplink.gateway: expected an address on the wire of 10.77.0.1/24, got 10.78.0.1',
  ],
  [
    'uplink vlan',
    uplink('device: up0, mode: bridged, network: blue, vlan: 4095'),
    'uplink.vlan: VLAN out of range: 4095 is reserved; expected an integer from 1 to 4094, got 4095',
  ],
  // VLANs.
  ...(
    [
      [0, 'VLAN out of range: 0 is a priority tag without a VLAN; expected an integer from 1 to 4094, got 0'],
      [4095, 'VLAN out of range: 4095 is reserved; expected an integer from 1 to 4094, got 4095'],
      [5000, 'VLAN out of range: expected an integer from 1 to 4094, got 5000'],
      [-1, 'VLAN out of range: expected an integer from 1 to 4094, got -1'],
      [1.5, 'expected an integer from 1 to 4094, got 1.5'],
      ['red', 'expected a VLAN, an integer from 1 to 4094, got "red"'],
    ] as const
  ).flatMap(([vlan, message]): [string, string, string][] => [
    [`vlan ${vlan}`, vlanEndpoint(`vlan: ${vlan}`), `endpoints.a.vlan: ${message}`],
    [
      `native ${vlan}`,
      vlanEndpoint(`trunk: { native: ${vlan}, allowed: [9] }`),
      `endpoints.a.trunk.native: ${message}`,
    ],
  ]),
  [
    'trunk VLAN 4095',
    vlanEndpoint('trunk: { allowed: [1, 4095] }'),
    'endpoints.a.trunk.allowed[1]: VLAN out of range: 4095 is reserved; expected an integer from 1 to 4094, got 4095',
  ],
  [
    'trunk range from 0',
    vlanEndpoint('trunk: { allowed: [0-9] }'),
    'endpoints.a.trunk.allowed[0]: VLAN out of range: 0 is a priority tag without a VLAN; expected an integer from 1 to 4094, got "0-9"',
  ],
  [
    'trunk range to 4096',
    vlanEndpoint('trunk: { allowed: [10-4096] }'),
    'endpoints.a.trunk.allowed[0]: VLAN out of range: expected an integer from 1 to 4094, got "10-4096"',
  ],
  [
    'trunk range reversed',
    vlanEndpoint('trunk: { allowed: [20-10] }'),
    'endpoints.a.trunk.allowed[0]: expected the lower end of the range first, "10-20", got "20-10"',
  ],
  [
    'trunk range in words',
    vlanEndpoint('trunk: { allowed: [all] }'),
    'endpoints.a.trunk.allowed[0]: expected a VLAN or a range such as "10-20", got "all"',
  ],
  [
    'trunk overlap',
    vlanEndpoint('trunk: { allowed: [5, 10-20, "15-30"] }'),
    'endpoints.a.trunk.allowed[2]: 15-30 overlaps 10-20',
  ],
  ['trunk twice', vlanEndpoint('trunk: { allowed: [5, 5] }'), 'endpoints.a.trunk.allowed[1]: 5 overlaps 5'],
  [
    'trunk empty',
    vlanEndpoint('trunk: { allowed: [] }'),
    'endpoints.a.trunk.allowed: expected at least one entry in the list of VLANs, got an empty list',
  ],
  [
    'trunk without a list',
    vlanEndpoint('trunk: { native: 4 }'),
    'endpoints.a.trunk.allowed: missing; expected a list of VLANs',
  ],
  [
    'trunk a number',
    vlanEndpoint('trunk: 4'),
    'endpoints.a.trunk: expected a trunk: a mapping with allowed, and native where wanted, got 4',
  ],
  [
    'vlan and trunk',
    vlanEndpoint('vlan: 4, trunk: { allowed: [4] }'),
    'endpoints.a.trunk: expected either vlan or trunk, got both',
  ],
  [
    'uplink vlan and trunk',
    uplink('device: up0, mode: bridged, network: blue, vlan: 4, trunk: { allowed: [4] }'),
    'uplink.trunk: expected either vlan or trunk, got both',
  ],
  [
    'vlan without filtering',
    endpoint('vlan: 4'),
    'endpoints.a.vlan: network blue tells no VLANs apart; set its vlan_filtering: true',
  ],
  [
    'trunk without filtering',
    endpoint('trunk: { allowed: [4] }'),
    'endpoints.a.trunk: network blue tells no VLANs apart; set its vlan_filtering: true',
  ],
  [
    'uplink trunk without filtering',
    uplink('device: up0, mode: bridged, network: blue, trunk: { allowed: [4] }'),
    'uplink.trunk: network blue tells no VLANs apart; set its vlan_filtering: true',
  ],
  [
    'vlan_protocol without filtering',
    network('subnets: [10.0.0.0/24], vlan_protocol: 802.1ad'),
    'networks.blue.vlan_protocol: needs vlan_filtering: true',
  ],
  [
    'vlan_protocol',
    network('subnets: [10.0.0.0/24], vlan_filtering: true, vlan_protocol: isl'),
    'networks.blue.vlan_protocol: expected one of 802.1q, 802.1ad, got "isl"',
  ],
  [
    'trunk, isolated',
    vlanEndpoint('trunk: { allowed: [4] }, isolated: true'),
    'endpoints.a.trunk: an isolated endpoint cannot have a trunk; give it a vlan, or set isolated: false',
  ],
  [
    'trunk in an isolation group',
    vlanEndpoint('trunk: { allowed: [4] }, isolation_group: g'),
    'endpoints.a.trunk: an isolated endpoint cannot have a trunk; give it a vlan, or leave out isolation_group',
  ],
  [
    'trunk in an isolated network',
    `version: 1
networks: { blue: { subnets: [10.0.0.0/24], vlan_filtering: true, isolated: true } }
endpoints: { a: { network: blue, netns: /a, trunk: { allowed: [4] } } }`,
    'endpoints.a.trunk: an isolated endpoint cannot have a trunk; give it a vlan, or set isolated: false',
  ],
  // Isolation and security.
  [
    'group of one that is not isolated',
    endpoint('isolated: false, isolation_group: g'),
    'endpoints.a.isolation_group: a member of an isolation group is isolated; leave out isolated: false',
  ],
  ['security', endpoint('security: lax'), 'endpoints.a.security: expected one of strict, mac, off, got "lax"'],
  [
    'allowed host bits',
    endpoint('allowed_addresses: [10.8.0.1/24]'),
    'endpoints.a.allowed_addresses[0]: expected 10.8.0.0/24, the prefix without host bits, got "10.8.0.1/24"',
  ],
  [
    'allowed multicast',
    endpoint('allowed_addresses: ["ff02::/16"]'),
    'endpoints.a.allowed_addresses[0]: expected an address or a prefix such as 10.8.0.0/24, no multicast, got "ff02::/16"',
  ],
  [
    'allowed 0.0.0.0',
    endpoint('allowed_addresses: ["0.0.0.0"]'),
    'endpoints.a.allowed_addresses[0]: expected an address or a prefix such as 10.8.0.0/24, not the unspecified address (DHCP and address probes may use it anyway), got "0.0.0.0"',
  ],
  [
    'allowed 0.0.0.0/32',
    endpoint('allowed_addresses: ["0.0.0.0/32"]'),
    'endpoints.a.allowed_addresses[0]: expected an address or a prefix such as 10.8.0.0/24, not the unspecified address (DHCP and address probes may use it anyway), got "0.0.0.0/32"',
  ],
  [
    'allowed ::',
    endpoint('allowed_addresses: ["::"]'),
    'endpoints.a.allowed_addresses[0]: expected an address or a prefix such as 10.8.0.0/24, not the unspecified address (DHCP and address probes may use it anyway), got "::"',
  ],
  [
    'allowed ::/128',
    endpoint('allowed_addresses: ["::/128"]'),
    'endpoints.a.allowed_addresses[0]: expected an address or a prefix such as 10.8.0.0/24, not the unspecified address (DHCP and address probes may use it anyway), got "::/128"',
  ],
  [
    'allowed in words',
    endpoint('allowed_addresses: [any]'),
    'endpoints.a.allowed_addresses[0]: expected an address or a prefix such as 10.8.0.0/24, got "any"',
  ],
  [
    'allowed gateway',
    endpoint('allowed_addresses: [172.30.0.1/32]'),
    'endpoints.a.allowed_addresses[0]: 172.30.0.1 is the gateway address of network blue',
  ],
  [
    "allowed another's",
    two('netns: /a, addresses: [172.30.0.5]', 'netns: /b, allowed_addresses: [172.30.0.5]'),
    'endpoints.b.allowed_addresses[0]: 172.30.0.5 is already an address of endpoint a',
  ],
  [
    'address that another may use',
    two('netns: /a, allowed_addresses: [172.30.0.5]', 'netns: /b, addresses: [172.30.0.5]'),
    'endpoints.b.addresses[0]: 172.30.0.5 is already one of the allowed_addresses of endpoint a',
  ],
  [
    'macs syntax',
    endpoint('macs: [x]'),
    'endpoints.a.macs[0]: expected a MAC address such as 02:42:ac:1e:00:02, got "x"',
  ],
  [
    'macs group address',
    endpoint('macs: [33:33:00:00:00:01]'),
    'endpoints.a.macs[0]: expected a unicast MAC address (first octet even, not all zero), got "33:33:00:00:00:01"',
  ],
  [
    "macs another's mac",
    two('netns: /a, mac: 02:00:00:00:00:0a', 'netns: /b, macs: [02:00:00:00:00:0A]'),
    'endpoints.b.macs[0]: 02:00:00:00:00:0a is already the MAC of endpoint a',
  ],
  [
    "mac one of another's macs",
    two('netns: /a, macs: [02:00:00:00:00:0a]', 'netns: /b, mac: 02:00:00:00:00:0a'),
    'endpoints.b.mac: 02:00:00:00:00:0a is already one of the macs of endpoint a',
  ],
  [
    'macs twice',
    endpoint('macs: [02:00:00:00:00:0a, 02:00:00:00:00:0a]'),
    'endpoints.a.macs[1]: 02:00:00:00:00:0a is already one of the macs of endpoint a',
  ],
  [
    'mac_limit below what is given',
    endpoint('macs: [02:00:00:00:00:0a], mac_limit: 1'),
    'endpoints.a.mac_limit: expected at least 2, for its own MAC and those of macs, got 1',
  ],
  ['mac_limit', endpoint('mac_limit: 0'), 'endpoints.a.mac_limit: expected an integer from 1 to 1048576, got 0'],
  // Multicast, storms, loops.
  ...['0', '1000001', '1.5', 'no', 'true'].map((rate): [string, string, string] => [
    `storm rate ${rate}`,
    endpoint(`storm_control: { broadcast: ${rate} }`),
    `endpoints.a.storm_control.broadcast: expected off or an integer from 1 to 1000000, got ${rate === 'no' ? '"no"' : rate}`,
  ]),
  [
    'storm kind',
    endpoint('storm_control: { unicast: 5 }'),
    'endpoints.a.storm_control.unicast: unknown key; expected one of broadcast, multicast, unknown_unicast',
  ],
  [
    'unregistered without snooping',
    network('subnets: [10.0.0.0/24], multicast: { snooping: false, unregistered: drop }'),
    'networks.blue.multicast.unregistered: drop needs snooping: true',
  ],
  [
    'multicast router',
    endpoint('multicast: { router: maybe }'),
    'endpoints.a.multicast.router: expected one of auto, always, never, got "maybe"',
  ],
  [
    'loop moves',
    network('subnets: [10.0.0.0/24], loop_protection: { moves: 1 }'),
    'networks.blue.loop_protection.moves: expected an integer from 2 to 10000, got 1',
  ],
  [
    'loop quarantine',
    network('subnets: [10.0.0.0/24], loop_protection: { quarantine: 0 }'),
    'networks.blue.loop_protection.quarantine: expected an integer from 1 to 86400, got 0',
  ],
  [
    'fdb_full',
    network('subnets: [10.0.0.0/24], fdb_full: forget'),
    'networks.blue.fdb_full: expected one of flood, drop, got "forget"',
  ],
  // Mirrors.
  ['mirror to nobody', mirrors('m: { from: { endpoint: a } }'), `mirrors.m.to: missing; ${NAME}`],
  [
    'mirror from nothing',
    mirrors('m: { from: {}, to: b }'),
    'mirrors.m.from: expected exactly one of network, endpoint, uplink',
  ],
  [
    'mirror from two',
    mirrors('m: { from: { endpoint: a, network: blue }, to: b }'),
    'mirrors.m.from: expected exactly one of network, endpoint, uplink',
  ],
  [
    'mirror of no uplink',
    mirrors('m: { from: { uplink: true }, to: b }'),
    'mirrors.m.from.uplink: no uplink is configured',
  ],
  [
    'mirror without uplink',
    mirrors('m: { from: { uplink: false }, to: b }'),
    'mirrors.m.from.uplink: expected true, got false',
  ],
  [
    'mirror of an unknown endpoint',
    mirrors('m: { from: { endpoint: x }, to: b }'),
    'mirrors.m.from.endpoint: expected the name of an endpoint, got "x"',
  ],
  [
    'mirror of an unknown network',
    mirrors('m: { from: { network: red }, to: b }'),
    'mirrors.m.from.network: expected the name of a network, got "red"',
  ],
  [
    'mirror to an unknown endpoint',
    mirrors('m: { from: { endpoint: a }, to: x }'),
    'mirrors.m.to: expected the name of an endpoint, got "x"',
  ],
  [
    'mirror to itself',
    mirrors('m: { from: { endpoint: a }, to: a }'),
    'mirrors.m.to: expected another endpoint than the one that it copies, got "a"',
  ],
  [
    'mirror direction',
    mirrors('m: { from: { endpoint: a }, to: b, direction: up }'),
    'mirrors.m.direction: expected one of both, in, out, got "up"',
  ],
  [
    'mirrors in a circle',
    mirrors('m: { from: { endpoint: a }, to: b }, n: { from: { endpoint: b }, to: a }'),
    'mirrors.n.to: copies would go round in a circle with mirror m',
  ],
  [
    'three mirrors in a circle',
    mirrors(
      'm: { from: { endpoint: a }, to: b }, n: { from: { endpoint: b }, to: c }, o: { from: { endpoint: c }, to: a }',
    ),
    'mirrors.o.to: copies would go round in a circle with mirrors m, n',
  ],
  [
    'mirrors in a circle through a network',
    mirrors('m: { from: { network: blue }, to: b }, n: { from: { endpoint: b }, to: c }'),
    'mirrors.n.to: copies would go round in a circle with mirror m',
  ],
  ['two mirrors of one name', `${BLUE}mirrors:\n  m: {}\n  m: {}`, 'mirrors.m: key given twice, in lines 4 and 5'],
  // Services and policy.
  [
    'service listen',
    `${BLUE}services: { web: { network: blue, listen: ["10.77.0.1"], backends: [] } }`,
    'services.web.listen[0]: expected a listening address such as "10.77.0.1:8080/tcp", "[fd00::1]:53/udp" or "8000-8010/tcp", got "10.77.0.1"',
  ],
  [
    'service backend',
    `${BLUE}services: { web: { network: blue, listen: ["172.30.0.9:80/tcp"], backends: [{ endpoint: x, port: 80 }] } }`,
    'services.web.backends[0].endpoint: expected the name of an endpoint, got "x"',
  ],
  [
    'policy action',
    `${BLUE}policy: [{ action: eat }]`,
    'policy[0].action: expected one of accept, drop, reject, got "eat"',
  ],
  [
    'policy cidr',
    `${BLUE}policy: [{ to: { cidr: 10.0.0.1/8 }, action: drop }]`,
    'policy[0].to.cidr: expected 10.0.0.0/8, the prefix without host bits, got "10.0.0.1/8"',
  ],
  [
    'policy two matches',
    `${BLUE}policy: [{ to: { cidr: 10.0.0.0/8, network: blue }, action: drop }]`,
    'policy[0].to: expected exactly one of network, endpoint, cidr',
  ],
  [
    'policy port',
    `${BLUE}policy: [{ proto: tcp, ports: [70000], action: drop }]`,
    'policy[0].ports[0]: expected an integer from 1 to 65535, got 70000',
  ],
  [
    'policy ports without proto',
    `${BLUE}policy: [{ ports: [22], action: drop }]`,
    'policy[0].ports: ports need proto: tcp, proto: udp or proto: sctp',
  ],
  [
    'policy network',
    `${BLUE}policy: [{ from: { network: grey }, action: drop }]`,
    'policy[0].from.network: expected the name of a network, got "grey"',
  ],
  [
    'policy families',
    `${BLUE}policy: [{ from: { cidr: "fd00::/8" }, to: { cidr: 10.0.0.0/8 }, action: drop }]`,
    'policy[0].to.cidr: expected an IPv6 prefix, as from has one, got 10.0.0.0/8',
  ],
  [
    'policy protocol of the other family',
    `${BLUE}policy: [{ from: { cidr: 10.0.0.0/8 }, proto: icmpv6, action: drop }]`,
    'policy[0].proto: expected icmp, as the prefix is IPv4, got icmpv6',
  ],
  [
    'policy of a network',
    network('subnets: [172.30.0.0/24], policy: deny'),
    'networks.blue.policy: expected one of accept, drop, reject, got "deny"',
  ],
];

for (const [what, yaml, line] of BAD) {
  test(`refused: ${what}`, (t) => {
    t.is(lineOf(yaml), `f.yaml: ${line}`);
  });
}

test('aliases that multiply without end are refused', (t) => {
  let yaml = 'version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let i = 1; i < 9; i++) yaml += `a${i}: &a${i} [${new Array(10).fill(`*a${i - 1}`).join(', ')}]\n`;
  t.regex(lineOf(yaml), /^f\.yaml: not valid YAML: Excessive alias count/);
});

test('defaults, canonical text and the order of the file', (t) => {
  const config = parseConfiguration(
    `version: 1
networks:
  blue: { subnets: [172.30.0.0/24, "FD00:0030::/64"], internal: true, masquerade: false, isolated: false }
  red: { subnets: [10.0.0.0/8], gateways: [10.0.0.9], mtu: 9000, ageing: 10, fdb_limit: 5 }
endpoints:
  b: { network: blue, pid: 12, addresses: ["FD00:30:0:0::5"], mac: 02:42:AC:1E:00:02 }
  a: { network: red, container: web.1, interface: net0, publish: [] }
services: {}
policy: []
uplink: { device: up0, mode: bridged, network: red }
`,
    'f.yaml',
  );
  t.deepEqual(config.networks.get('blue'), {
    subnets: ['172.30.0.0/24', 'fd00:30::/64'],
    gateways: [],
    range: [],
    vrf: 'default',
    internal: true,
    isolated: false,
    masquerade: false,
    nat66: false,
    policy: 'accept',
    host: false,
    source_validation: false,
    proxy: [],
    router_advertisements: {
      enabled: false,
      interval: 200,
      lifetime: 1800,
      autonomous: true,
      managed: false,
      other: false,
    },
    ageing: 300,
    fdb_limit: 16384,
    fdb_full: 'flood',
    vlan_filtering: false,
    multicast: { snooping: true, querier: true, unregistered: 'flood' },
    storm_control: { broadcast: 10_000, multicast: 'off', unknown_unicast: 10_000 },
    loop_protection: { enabled: true, moves: 20, quarantine: 30 },
  });
  t.like(config.networks.get('red'), { gateways: ['10.0.0.9'], mtu: 9000, ageing: 10, fdb_limit: 5 });
  t.deepEqual([...config.endpoints.keys()], ['b', 'a']);
  t.deepEqual(config.endpoints.get('b'), {
    network: 'blue',
    pid: 12,
    interface: 'eth0',
    addresses: ['fd00:30::5'],
    mac: '02:42:ac:1e:00:02',
    security: 'strict',
    allowed_addresses: [],
    macs: [],
    storm_control: {},
    multicast: { router: 'auto', fast_leave: true },
    gateway_priority: 0,
    publish: [],
  });
  t.like(config.endpoints.get('a'), { container: 'web.1', interface: 'net0', addresses: [] });
  t.deepEqual(config.uplink, {
    device: 'up0',
    mode: 'bridged',
    offload: true,
    network: 'red',
    storm_control: {},
    multicast: { router: 'always', fast_leave: false },
  });
});

test('the same MAC in two networks is two interfaces of one host, and accepted', (t) => {
  t.is(
    lineOf(`version: 1
networks: { x: { subnets: [10.0.0.0/24] }, y: { subnets: [10.0.1.0/24] } }
endpoints:
  a: { network: x, netns: /a, mac: 02:00:00:00:00:01 }
  b: { network: y, netns: /b, mac: 02:00:00:00:00:01 }`),
    'accepted',
  );
});

test('a file that cannot be read says so', async (t) => {
  await t.throwsAsync(loadConfiguration('/nonexistent/x.yaml'), { message: '/nonexistent/x.yaml: no such file' });
  await t.throwsAsync(loadConfiguration('/'), { message: '/: is a directory; expected a YAML file' });
});

test('a file that is not UTF-8 says so, wherever the odd byte is', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-config-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'f.yaml');
  for (const bytes of [
    Buffer.from('# caf\xe9\nversion: 1\n', 'latin1'),
    Buffer.from('\ufeffversion: 1\n', 'utf16le'),
  ]) {
    writeFileSync(file, bytes);
    await t.throwsAsync(loadConfiguration(file), { message: `${file}: expected text in UTF-8` });
  }
  writeFileSync(file, '\ufeff# café\nversion: 1\n');
  await t.notThrowsAsync(loadConfiguration(file));
});

const EXAMPLES = new URL('../../../examples/', import.meta.url).pathname;

for (const name of readdirSync(EXAMPLES)) {
  test(`examples/${name} is valid`, async (t) => {
    const file = `${EXAMPLES}${name}`;
    t.true((await loadConfiguration(file)).networks.size > 0);
  });
}
