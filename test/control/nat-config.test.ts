/** Mistakes in what a file says of address translation: `tapline up` says each in one line, with what to write instead, and exits with 2. */

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseConfiguration } from '../../control/config/load.js';
import type { Configuration } from '../../control/config/schema.js';
import { cli } from '../cli/support/lab.js';

const WIRE = 'device: up0, mode: own, addresses: [10.77.0.1/24, "2001:db8::1/64"], gateway: 10.77.0.254';
const OWN = `uplink: { ${WIRE} }\n`;
const SHARED = 'uplink: { device: up0, mode: shared }\n';
const ROUTED = 'uplink: { device: up0, mode: routed, addresses: [10.77.0.1/24] }\n';
const BRIDGED = 'uplink: { device: up0, mode: bridged, network: blue }\n';

const BOTH = '172.30.0.0/24, "fd00:30::/64"';
const blue = (more: string, subnets = BOTH): string => `networks: { blue: { subnets: [${subnets}], ${more} } }\n`;
const own = (more: string, subnets = BOTH): string => OWN + blue(more, subnets);
const nat = (more: string): string => `${own('mtu: 1500')}nat: { ${more} }\n`;
const timeout = (more: string): string => nat(`timeouts: { ${more} }`);
const publish = (spec: string, more = 'mtu: 1500', uplink = OWN): string =>
  `${uplink}${blue(more)}endpoints: { a: { network: blue, netns: /a, publish: [${spec}] } }\n`;

const RANGE = 'expected a range of at least 8 ports such as "49152-65535"';
const MASQUERADE = 'expected true, false, or an address such as 10.77.0.5';
const POOL = 'networks.blue.masquerade: addresses to leave from need an uplink of mode own; ';

/** What is wrong, the file behind its first line, and the exact line behind the file's name. */
const BAD: readonly (readonly [string, string, string])[] = [
  // Settings.
  [
    'mapping',
    nat('mapping: full_cone'),
    'nat.mapping: expected one of endpoint_independent, address_and_port_dependent, got "full_cone"',
  ],
  [
    'filtering',
    nat('filtering: none'),
    'nat.filtering: expected one of endpoint_independent, address_dependent, address_and_port_dependent, got "none"',
  ],
  [
    'no mapping',
    `${own('mtu: 1500')}nat: on\n`,
    'nat: expected a mapping with mapping, filtering, ports and so on, got "on"',
  ],
  [
    'unknown key',
    nat('maping: endpoint_independent'),
    'nat.maping: unknown key; expected one of mapping, filtering, ports, port_block, max_flows, flows_per_endpoint, alg, timeouts',
  ],
  ['a port alone', nat('ports: 1024'), `nat.ports: ${RANGE}, got 1024`],
  ['ports that there are not', nat('ports: 60000-70000'), `nat.ports: ${RANGE}, got "60000-70000"`],
  ['port 0', nat('ports: 0-1000'), `nat.ports: ${RANGE}, got "0-1000"`],
  ['ports backwards', nat('ports: 2000-1000'), `nat.ports: ${RANGE}, got "2000-1000"`],
  ['too few ports', nat('ports: 5000-5006'), `nat.ports: ${RANGE}, got "5000-5006"`],
  ['ports in words', nat('ports: high'), `nat.ports: ${RANGE}, got "high"`],
  ['ports as a list', nat('ports: [1024, 65535]'), `nat.ports: ${RANGE}, got a list`],
  ['block of three', nat('port_block: 3'), 'nat.port_block: expected a power of two, or 0 for none, got 3'],
  ['block below 0', nat('port_block: -2'), 'nat.port_block: expected an integer from 0 to 16384, got -2'],
  ['block too large', nat('port_block: 32768'), 'nat.port_block: expected an integer from 0 to 16384, got 32768'],
  [
    'block larger than the ports',
    nat('ports: 2000-2100, port_block: 128'),
    'nat.port_block: expected no more than the 101 of ports, got 128',
  ],
  ['too few flows', nat('max_flows: 10'), 'nat.max_flows: expected an integer from 1024 to 2097152, got 10'],
  [
    'flows of an endpoint',
    nat('flows_per_endpoint: 0'),
    'nat.flows_per_endpoint: expected an integer from 16 to 4194304, got 0',
  ],
  ['gateway of what nobody knows', nat('alg: [ftp, sip]'), 'nat.alg[1]: expected one of ftp, tftp, got "sip"'],
  ['gateway in capitals', nat('alg: [FTP]'), 'nat.alg[0]: expected one of ftp, tftp, got "FTP"'],
  ['gateway alone', nat('alg: ftp'), 'nat.alg: expected a list of protocols, got "ftp"'],
  ['gateway twice', nat('alg: [ftp, tftp, ftp]'), 'nat.alg[2]: ftp given twice'],
  // Timeouts, each one below what its RFC asks for.
  [
    'RFC 5382 REQ-5',
    timeout('tcp_established: 7439'),
    'nat.timeouts.tcp_established: expected an integer from 7440 to 2592000, got 7439',
  ],
  ['RFC 5382 REQ-5', timeout('tcp_fin: 239'), 'nat.timeouts.tcp_fin: expected an integer from 240 to 2592000, got 239'],
  ['RFC 5382 REQ-5', timeout('tcp_syn: 239'), 'nat.timeouts.tcp_syn: expected an integer from 240 to 2592000, got 239'],
  [
    'RFC 5382 REQ-5',
    timeout('tcp_closing: 0'),
    'nat.timeouts.tcp_closing: expected an integer from 240 to 2592000, got 0',
  ],
  [
    'RFC 7857 s2.2',
    timeout('tcp_reset: 239'),
    'nat.timeouts.tcp_reset: expected an integer from 240 to 2592000, got 239',
  ],
  ['RFC 4787 REQ-5', timeout('udp: 119'), 'nat.timeouts.udp: expected an integer from 120 to 2592000, got 119'],
  [
    'RFC 4787 REQ-5',
    timeout('udp_stream: 119'),
    'nat.timeouts.udp_stream: expected an integer from 120 to 2592000, got 119',
  ],
  ['RFC 5508 REQ-2', timeout('icmp: 59'), 'nat.timeouts.icmp: expected an integer from 60 to 2592000, got 59'],
  [
    'none of SCTP',
    timeout('sctp_opening: 0'),
    'nat.timeouts.sctp_opening: expected an integer from 1 to 2592000, got 0',
  ],
  ['none of others', timeout('other: 0'), 'nat.timeouts.other: expected an integer from 1 to 2592000, got 0'],
  ['for ever', timeout('udp: 1e9'), 'nat.timeouts.udp: expected an integer from 120 to 2592000, got 1000000000'],
  ['with a unit', timeout('udp: 300s'), 'nat.timeouts.udp: expected an integer from 120 to 2592000, got "300s"'],
  ['a fraction', timeout('udp: 300.5'), 'nat.timeouts.udp: expected an integer from 120 to 2592000, got 300.5'],
  [
    'a state that there is not',
    timeout('tcp: 300'),
    'nat.timeouts.tcp: unknown key; expected one of tcp_syn, tcp_established, tcp_fin, tcp_closing, tcp_reset, udp, udp_stream, icmp, sctp_opening, sctp_established, other',
  ],
  // Masquerade.
  ['neither yes nor no', own('masquerade: maybe'), `networks.blue.masquerade: ${MASQUERADE}, got "maybe"`],
  ['a number', own('masquerade: 1'), `networks.blue.masquerade: ${MASQUERADE}, got 1`],
  ['a mapping', own('masquerade: { to: 10.77.0.5 }'), `networks.blue.masquerade: ${MASQUERADE}, got a mapping`],
  ['no address', own('masquerade: 10.77.0.300'), `networks.blue.masquerade: ${MASQUERADE}, got "10.77.0.300"`],
  ['with a length', own('masquerade: 10.77.0.5/24'), `networks.blue.masquerade: ${MASQUERADE}, got "10.77.0.5/24"`],
  [
    'no address in a list',
    own('masquerade: [10.77.0.5, x]'),
    'networks.blue.masquerade[1]: expected an IPv4 or IPv6 address, got "x"',
  ],
  [
    'an empty pool',
    own('masquerade: []'),
    'networks.blue.masquerade: expected at least one entry in the list of addresses, got an empty list',
  ],
  ['one twice', own('masquerade: [10.77.0.5, 10.77.0.5]'), 'networks.blue.masquerade: 10.77.0.5 given twice'],
  [
    'loopback',
    own('masquerade: 127.0.0.1'),
    'networks.blue.masquerade: expected an address outside the loopback range 127.0.0.0/8, got "127.0.0.1"',
  ],
  [
    'multicast',
    own('masquerade: [10.77.0.5, 224.0.0.5]'),
    'networks.blue.masquerade[1]: expected an address outside the multicast range 224.0.0.0/4, got "224.0.0.5"',
  ],
  [
    'link-local',
    own('masquerade: "fe80::5"'),
    'networks.blue.masquerade: expected an address outside the link-local range fe80::/10, got "fe80::5"',
  ],
  [
    'network address of the wire',
    own('masquerade: 10.77.0.0'),
    'networks.blue.masquerade: 10.77.0.0 is the network address of the wire',
  ],
  [
    'broadcast of the wire',
    own('masquerade: 10.77.0.255'),
    'networks.blue.masquerade: 10.77.0.255 is the broadcast address of the wire',
  ],
  ['the gateway', own('masquerade: 10.77.0.254'), 'networks.blue.masquerade: 10.77.0.254 is the gateway of the uplink'],
  [
    'an address of a network',
    own('masquerade: 172.30.0.9'),
    'networks.blue.masquerade: 172.30.0.9 is in 172.30.0.0/24 of network blue, not on the wire',
  ],
  ['a pool in shared mode', SHARED + blue('masquerade: 10.77.0.5'), `${POOL}its mode is shared`],
  ['a pool in routed mode', ROUTED + blue('masquerade: 10.77.0.5'), `${POOL}its mode is routed`],
  ['a pool in bridged mode', BRIDGED + blue('masquerade: 10.77.0.5'), `${POOL}its mode is bridged`],
  ['a pool without an uplink', blue('masquerade: [10.77.0.5, 10.77.0.6]'), `${POOL}there is none`],
  [
    'a pool in another VRF',
    own('masquerade: 10.77.0.5, vrf: lab'),
    'networks.blue.masquerade: the network is in VRF lab, the uplink in VRF default: nothing leaves by it',
  ],
  // NAT66 and prefixes.
  ['nat66 in a number', own('nat66: 1'), 'networks.blue.nat66: expected true or false, got 1'],
  ['nat66 without IPv6', own('nat66: true', '172.30.0.0/24'), 'networks.blue.nat66: needs an IPv6 subnet'],
  [
    'nptv6 without IPv6',
    own('nptv6: "2001:db8:1::/64"', '172.30.0.0/24'),
    'networks.blue.nptv6: needs exactly one IPv6 subnet, got 0',
  ],
  [
    'nptv6 of two',
    own('nptv6: "2001:db8:1::/64"', '"fd00:30::/64", "fd00:31::/64"'),
    'networks.blue.nptv6: needs exactly one IPv6 subnet, got 2',
  ],
  [
    'nptv6 and nat66',
    own('nptv6: "2001:db8:1::/64", nat66: true'),
    'networks.blue.nptv6: either translates prefixes, or addresses (nat66, masquerade): not both',
  ],
  [
    'nptv6 and a pool',
    own('nptv6: "2001:db8:1::/64", masquerade: ["2001:db8::7"]'),
    'networks.blue.nptv6: either translates prefixes, or addresses (nat66, masquerade): not both',
  ],
  [
    'nptv6 of IPv4',
    own('nptv6: 10.0.0.0/24'),
    'networks.blue.nptv6: expected an IPv6 prefix such as 2001:db8:1::/64, got "10.0.0.0/24"',
  ],
  [
    'nptv6 in a word',
    own('nptv6: true'),
    'networks.blue.nptv6: expected an IPv6 prefix such as 2001:db8:1::/64, got true',
  ],
  [
    'nptv6 with host bits',
    own('nptv6: "2001:db8:1::1/64"'),
    'networks.blue.nptv6: expected 2001:db8:1::/64, the prefix without host bits, got "2001:db8:1::1/64"',
  ],
  [
    'nptv6 of a long prefix',
    own('nptv6: "2001:db8:1::/80"'),
    'networks.blue.nptv6: 2001:db8:1::/80 is longer than 64 bits, which RFC 6296 does not translate',
  ],
  [
    'nptv6 of a long subnet',
    own('nptv6: "2001:db8:1::/64"', '"fd00:30::/80"'),
    'networks.blue.nptv6: fd00:30::/80 is longer than 64 bits, which RFC 6296 does not translate',
  ],
  [
    'nptv6 of multicast',
    own('nptv6: "ff05::/64"'),
    'networks.blue.nptv6: expected a prefix outside the multicast range ff00::/8, got "ff05::/64"',
  ],
  [
    'nptv6 that is the subnet itself',
    own('nptv6: "fd00:30::/64"'),
    'networks.blue.nptv6: fd00:30::/64 overlaps fd00:30::/64 of network blue; take another prefix',
  ],
  [
    'nptv6 that is the wire',
    own('nptv6: "2001:db8::/48"'),
    'networks.blue.nptv6: 2001:db8::/48 overlaps 2001:db8::/64 of the uplink; take another prefix',
  ],
  [
    'nptv6 that is a neighbor’s subnet',
    `${OWN}networks: { blue: { subnets: ["fd00:30::/64"], nptv6: "fd00:31::/64" }, red: { subnets: ["fd00:31::/64"] } }\n`,
    'networks.blue.nptv6: fd00:31::/64 overlaps fd00:31::/64 of network red; take another prefix',
  ],
  [
    'nptv6 of two networks',
    `${OWN}networks: { blue: { subnets: ["fd00:30::/64"], nptv6: "2001:db8:1::/64" }, red: { subnets: ["fd00:31::/64"], nptv6: "2001:db8:1::/48" } }\n`,
    'networks.red.nptv6: 2001:db8:1::/48 overlaps 2001:db8:1::/64 of network blue; take another prefix',
  ],
  // Published ports; more of them in publish-config.test.ts.
  [
    'a port alone',
    publish('8080'),
    'endpoints.a.publish[0]: expected a published port such as "8080:80", "10.77.0.1:5201:5201/tcp" or "6000-6010:6000-6010/udp", got 8080',
  ],
  [
    'ranges of two lengths',
    publish('"6000-6010:7000-7005"'),
    'endpoints.a.publish[0]: expected two port ranges of equal length, got "6000-6010:7000-7005"',
  ],
  [
    'a protocol without ports',
    publish('"80:80/icmp"'),
    'endpoints.a.publish[0]: expected a published port of protocol tcp, udp or sctp, got "80:80/icmp"',
  ],
  [
    'the same again',
    publish('"8080:80", "8080:81"'),
    'endpoints.a.publish[1]: 8080:81/tcp is taken by 8080:80/tcp of this endpoint; choose other ports, or another address',
  ],
  [
    'no uplink',
    publish('"8080:80"', 'mtu: 1500', ''),
    'endpoints.a.publish: needs an uplink of mode own, shared or routed; there is none',
  ],
];

/** Runs `tapline up` with a file. */
async function up(t: ExecutionContext, yaml: string): Promise<{ code: number; out: string; lines: string[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-nat-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'f.yaml');
  const socket = join(directory, 's');
  writeFileSync(file, `version: 1\n${yaml}`);
  const { code, out, err } = await cli(['up', '-f', file, '--socket', socket]);
  t.false(existsSync(socket), 'nothing is left');
  return { code, out, lines: err.replaceAll(`${file}: `, '').split('\n') };
}

for (const [index, [what, yaml, line]] of BAD.entries()) {
  // One after the other: each waits for signals of the process.
  test.serial(`refused, ${index + 1}: ${what}`, async (t) => {
    const { code, out, lines } = await up(t, yaml);
    t.deepEqual([code, out, lines.length, lines[1]], [2, '', 2, '']);
    t.is(lines[0], `tapline: ${line}`);
  });
}

const parse = (yaml: string): Configuration => parseConfiguration(`version: 1\n${yaml}`, 'f.yaml');

/** What is allowed though it looks as if it were not. */
const GOOD: readonly (readonly [string, string])[] = [
  ['the shortest timeouts', timeout('tcp_syn: 240, tcp_established: 7440, tcp_fin: 240, udp: 120, icmp: 60, other: 1')],
  ['just enough ports', nat('ports: 5000-5007, port_block: 8')],
  ['more flows to an endpoint than there are', nat('max_flows: 1024, flows_per_endpoint: 4096')],
  ['no gateways', nat('alg: []')],
  ['a pool that is routed here', own('masquerade: [203.0.113.0, 203.0.113.255, "2001:db8:9::5"]')],
  ['a pool with the uplink’s own address', own('masquerade: [10.77.0.1, 10.77.0.2]')],
  [
    'one pool of two networks',
    `${OWN}networks: { a: { subnets: [10.1.0.0/24], masquerade: 10.77.0.5 }, b: { subnets: [10.2.0.0/24], masquerade: 10.77.0.5 } }\n`,
  ],
  ['IPv6 translated where IPv4 is not', own('masquerade: false, nat66: true')],
  ['nat66 with the host’s address', SHARED + blue('nat66: true')],
  [
    'prefixes of two VRFs',
    `networks: { a: { subnets: ["fd00:30::/64"], nptv6: "2001:db8:1::/64" }, b: { subnets: ["2001:db8:1::/64"], vrf: lab } }\n`,
  ],
  ['a prefix that is wider than the subnet', own('nptv6: "2001:db8:8::/48"')],
];

for (const [what, yaml] of GOOD) {
  test(`accepted: ${what}`, (t) => {
    t.notThrows(() => parse(yaml));
  });
}

test('one address is a pool of one; addresses and prefixes are written in one way', (t) => {
  const { networks } = parse(own('masquerade: "2001:DB8:0::5"'));
  t.deepEqual(networks.get('blue')?.masquerade, ['2001:db8::5']);
  t.is(parse(own('nptv6: "2001:DB8:1:0::/64"')).networks.get('blue')?.nptv6, '2001:db8:1::/64');
});
