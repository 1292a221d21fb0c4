/**
 * The configuration contract as zod schemas. The file, the HTTP API and the CLI all read their objects through these,
 * so names, defaults and messages are the same everywhere. What concerns several objects at once is in `check.ts`.
 */

import { z } from 'zod';
import {
  addressField,
  booleanField,
  cidrField,
  dscpField,
  groupField,
  hopField,
  integerField,
  interfaceAddressField,
  interfaceField,
  listenField,
  listOf,
  macField,
  mapping,
  mappingOf,
  masqueradeAddressField,
  nameField,
  nonEmptyListOf,
  oneOf,
  outsidePrefixField,
  parsePortRange,
  pathField,
  policyPortField,
  poolAddressField,
  portRangeField,
  prefixField,
  primeField,
  publishField,
  rateField,
  refusedField,
  sourceField,
  statusField,
  subnetField,
  textField,
  vlanField,
  vlanRangeField,
  vtepMacField,
} from './fields.js';
import { vlanRange } from './vlan.js';

/** The VRF of whoever names none. */
export const DEFAULT_VRF = 'default';

const device = interfaceField;

/** What an uplink of the router has where its address and MAC are its own. */
const wireKeys = {
  addresses: nonEmptyListOf('addresses with prefix length', interfaceAddressField),
  gateway: addressField.optional(),
  /** In place of `gateway`, for both families. */
  gateways: listOf('gateway addresses', addressField).default([]),
  vrf: nameField.default(DEFAULT_VRF),
  /** Follows from the device's unless given. */
  mac: macField.optional(),
};

/** False: the device, or its driver, gets no super-packets and no unfinished checksums, and segments from there stay as they are. */
const offload = booleanField.default(true);

/** False: super-packets that go into tunnels are cut by Tapline itself (io/outlet.ts). */
const outlet = booleanField.default(true);

const ownUplink = mapping('an uplink', { device, mode: z.literal('own'), offload, outlet, ...wireKeys });

const sharedUplink = mapping('an uplink', {
  device,
  mode: z.literal('shared'),
  offload,
  outlet,
  vrf: nameField.default(DEFAULT_VRF),
});

/** Reports a mistake whose message says all there is to say. */
function refuse(context: z.RefinementCtx, path: (string | number)[], message: string): void {
  context.addIssue({ code: 'custom', path, message, params: { complete: true } });
}

const trunkSchema = mapping('a trunk: a mapping with allowed, and native where wanted', {
  native: vlanField.optional(),
  allowed: nonEmptyListOf('VLANs', vlanRangeField),
}).superRefine(({ allowed }, context) => {
  const ranges = allowed.map(vlanRange);
  ranges.forEach((range, index) => {
    const other = ranges.slice(0, index).findIndex(({ first, last }) => first <= range.last && range.first <= last);
    if (other >= 0) refuse(context, ['allowed', index], `${allowed[index]} overlaps ${allowed[other]}`);
  });
});

function refuseVlanAndTrunk(port: { vlan?: unknown; trunk?: unknown }, context: z.RefinementCtx): void {
  if (port.vlan !== undefined && port.trunk !== undefined) {
    refuse(context, ['trunk'], 'expected either vlan or trunk, got both');
  }
}

export const MAX_MACS = 1_048_576;

/** Frames a second that one port may send. */
const stormKeys = { broadcast: rateField, multicast: rateField, unknown_unicast: rateField };
const STORM = 'a mapping with broadcast, multicast, unknown_unicast';
/** What a port says itself; the rest is its network's, or, for an uplink, without limit. */
const portStormSchema = mapping(STORM, stormKeys).partial();

const portMulticast = (router: 'auto' | 'always', fastLeave: boolean) =>
  mapping('a mapping with router and fast_leave', {
    router: oneOf(['auto', 'always', 'never']).default(router),
    fast_leave: booleanField.default(fastLeave),
  }).prefault({});

const bridgedUplink = mapping('an uplink', {
  device,
  mode: z.literal('bridged'),
  offload,
  network: nameField,
  vlan: vlanField.optional(),
  trunk: trunkSchema.optional(),
  mac_limit: integerField(1, MAX_MACS).optional(),
  storm_control: portStormSchema.prefault({}),
  /** The wire gets all multicast, and no queries of ours: who listens there is not ours to ask. */
  multicast: portMulticast('always', false),
}).superRefine(refuseVlanAndTrunk);

const routedUplink = mapping('an uplink', {
  device,
  mode: z.literal('routed'),
  offload,
  outlet,
  ...wireKeys,
  /** Prefixes whose ARP and neighbor discovery are answered on the wire. */
  proxy: listOf('prefixes', prefixField).default([]),
});

export const uplinkSchema = z.discriminatedUnion('mode', [ownUplink, sharedUplink, bridgedUplink, routedUplink], {
  error: (issue) =>
    issue.code === 'invalid_union'
      ? 'expected one of own, shared, bridged, routed'
      : 'expected a mapping with device and mode',
});

/** 24 bits (RFC 7348 section 5); 0 is left to those who mean none. */
export const MAX_VNI = 16_777_215;
/** The one that IANA has given VXLAN. */
export const VXLAN_PORT = 4789;
/** Of outer packets, to VTEPs and, as nobody wants them further than asked for, to a group. */
const VXLAN_TTL = 64;
const VXLAN_GROUP_TTL = 1;

const vxlanFdbSchema = mapping('an entry: a mapping with mac and vtep', { mac: vtepMacField, vtep: poolAddressField });
const vxlanNeighborSchema = mapping('a neighbor: a mapping with address and mac', {
  address: addressField,
  mac: macField,
});

const vxlanSchema = mapping('a mapping with vni and local, and remotes, group and so on where wanted', {
  vni: integerField(1, MAX_VNI),
  /** An address of the uplink. */
  local: poolAddressField,
  /** Each gets what is flooded. */
  remotes: listOf('VTEP addresses', poolAddressField).default([]),
  port: integerField(1, 65_535).default(VXLAN_PORT),
  /** Multicast group of the underlay that gets what is flooded. */
  group: groupField.optional(),
  /** MACs are learned from what VTEPs send; unless given, where no entries are. */
  learning: booleanField.optional(),
  /** Packets of VTEPs that nobody has named are taken; unless given, where there is a group. */
  open: booleanField.optional(),
  /** Outer TTL or hop limit; unless given, another one to the group. */
  ttl: integerField(1, 255).optional(),
  dscp: dscpField.default(0),
  /** Outer UDP checksum. */
  checksum: booleanField.default(true),
  /** Group policy tag of what is sent (draft-smith-vxlan-group-policy). */
  gbp: integerField(0, 65_535).optional(),
  gpe: refusedField('VXLAN-GPE is not supported'),
  /** ARP and neighbor discovery are answered out of the neighbor table. */
  suppress: booleanField.default(true),
  /** The one that the tunnel carries, in a network that tells VLANs apart. */
  vlan: vlanField.optional(),
  fdb: listOf('FDB entries', vxlanFdbSchema).default([]),
  neighbors: listOf('neighbors', vxlanNeighborSchema).default([]),
}).transform(({ gpe: _, ...given }) => ({
  ...given,
  learning: given.learning ?? given.fdb.length === 0,
  open: given.open ?? given.group !== undefined,
  ttl: given.ttl ?? VXLAN_TTL,
  group_ttl: given.ttl ?? VXLAN_GROUP_TTL,
}));

export const DEFAULT_AGEING_SECONDS = 300;
export const DEFAULT_FDB_LIMIT = 16_384;

/** MACs that an endpoint without port security may have. */
export const DEFAULT_MAC_LIMIT = 1024;

const networkMulticastSchema = mapping('a mapping with snooping, querier, unregistered', {
  snooping: booleanField.default(true),
  querier: booleanField.default(true),
  unregistered: oneOf(['flood', 'drop']).default('flood'),
}).superRefine(({ snooping, unregistered }, context) => {
  if (!snooping && unregistered === 'drop') refuse(context, ['unregistered'], 'drop needs snooping: true');
});

/** For endpoints: far above what address resolution needs, far below what would hurt. */
const networkStormSchema = mapping(STORM, {
  broadcast: rateField.default(10_000),
  multicast: rateField.default('off'),
  unknown_unicast: rateField.default(10_000),
});

const loopSchema = mapping('a mapping with enabled, moves, quarantine', {
  enabled: booleanField.default(true),
  /** Moves of one MAC within 10 s. */
  moves: integerField(2, 10_000).default(20),
  /** Seconds. */
  quarantine: integerField(1, 86_400).default(30),
});

/** Seconds, as RFC 4861 section 6.2.1 bounds them. */
const advertisementSchema = mapping('a mapping with enabled, interval, lifetime, autonomous, managed, other', {
  enabled: booleanField.default(false),
  interval: integerField(4, 1800).default(200),
  lifetime: integerField(0, 9000).default(1800),
  /** Hosts make addresses of the prefixes themselves (SLAAC). */
  autonomous: booleanField.default(true),
  managed: booleanField.default(false),
  other: booleanField.default(false),
}).superRefine(({ interval, lifetime }, context) => {
  if (lifetime > 0 && lifetime < interval)
    refuse(context, ['lifetime'], `expected 0 or at least the interval of ${interval}, got ${lifetime}`);
});

/** true, false, one address, or a list; mistakes are said of the one, or of the entry. */
const masqueradeField = z.unknown().transform((value, context): boolean | string[] => {
  if (typeof value === 'boolean') return value;
  const field = Array.isArray(value) ? nonEmptyListOf('addresses', poolAddressField) : masqueradeAddressField;
  const result = field.safeParse(value);
  if (result.success) return [result.data].flat();
  for (const { message, path } of result.error.issues) context.addIssue({ code: 'custom', message, path: [...path] });
  return z.NEVER;
});

/** MAX_MTU of the kernel's drivers/net/tun.c (65535) less the Ethernet header. */
const TAP_MAX_MTU = 65_521;

export const networkSchema = mapping('a network: a mapping with subnets', {
  subnets: nonEmptyListOf('subnets', subnetField),
  gateways: listOf('gateway addresses', addressField).default([]),
  /** From the gateway's address unless given. */
  gateway_mac: macField.optional(),
  /** Parts of the subnets that endpoints get addresses from. */
  range: listOf('prefixes', cidrField).default([]),
  vrf: nameField.default(DEFAULT_VRF),
  /** Bytes of IP packet; 68 is the least that RFC 791 allows. Unless given, 1500, or what an overlay's underlay leaves of its own. */
  mtu: integerField(68, TAP_MAX_MTU).optional(),
  internal: booleanField.default(false),
  isolated: booleanField.default(false),
  /** IPv4 leaves from the uplink's address; or from the addresses given, IPv6 (NAT66) too where there are any. */
  masquerade: masqueradeField.default(true),
  /** IPv6 leaves from the uplink's address. */
  nat66: booleanField.default(false),
  /** Prefix that takes the place of the IPv6 subnet outside (RFC 6296). */
  nptv6: outsidePrefixField.optional(),
  /** What becomes of new connections to its endpoints that no rule of the policy decides on. */
  policy: oneOf(['accept', 'drop', 'reject']).default('accept'),
  /** The host and its endpoints reach each other, at the gateway's address. */
  host: booleanField.default(false),
  /** Packets are taken only from where the route to their source leads (RFC 3704, 2.2). */
  source_validation: booleanField.default(false),
  /** Prefixes whose ARP and neighbor discovery the gateway answers. */
  proxy: listOf('prefixes', prefixField).default([]),
  router_advertisements: advertisementSchema.prefault({}),
  /** Seconds. */
  ageing: integerField(10, 1_000_000).default(DEFAULT_AGEING_SECONDS),
  fdb_limit: integerField(1, MAX_MACS).default(DEFAULT_FDB_LIMIT),
  fdb_full: oneOf(['flood', 'drop']).default('flood'),
  vlan_filtering: booleanField.default(false),
  /** 802.1q where filtering is on and nothing is said. */
  vlan_protocol: oneOf(['802.1q', '802.1ad']).optional(),
  multicast: networkMulticastSchema.prefault({}),
  storm_control: networkStormSchema.prefault({}),
  loop_protection: loopSchema.prefault({}),
  vxlan: vxlanSchema.optional(),
}).superRefine((network, context) => {
  if (network.vlan_protocol !== undefined && !network.vlan_filtering) {
    refuse(context, ['vlan_protocol'], 'needs vlan_filtering: true');
  }
  const { vxlan, vlan_filtering } = network;
  if (vxlan === undefined || vlan_filtering === (vxlan.vlan !== undefined)) return;
  if (vlan_filtering) refuse(context, ['vxlan'], 'needs vlan, the one that it carries, as vlan_filtering is true');
  else refuse(context, ['vxlan', 'vlan'], 'needs vlan_filtering: true');
});

/** The three ways to say which container; exactly one is given. */
export const TARGET_KEYS = ['netns', 'pid', 'container'] as const;

export const SECURITY_LEVELS = ['strict', 'mac', 'off'] as const;

/** PID_MAX_LIMIT of a 64-bit kernel. */
const PID_MAX = 4_194_304;

export const endpointSchema = mapping('an endpoint: a mapping with network and one of netns, pid, container', {
  network: nameField,
  netns: pathField.optional(),
  pid: integerField(1, PID_MAX).optional(),
  container: nameField.optional(),
  interface: interfaceField.default('eth0'),
  addresses: listOf('addresses', addressField).default([]),
  mac: macField.optional(),
  security: oneOf(SECURITY_LEVELS).default('strict'),
  allowed_addresses: listOf('addresses and prefixes', sourceField).default([]),
  macs: listOf('MAC addresses', macField).default([]),
  /** Its own MAC and macs included; without it no others with security, DEFAULT_MAC_LIMIT of them without. */
  mac_limit: integerField(1, MAX_MACS).optional(),
  /** The network's unless given. */
  isolated: booleanField.optional(),
  isolation_group: nameField.optional(),
  vlan: vlanField.optional(),
  trunk: trunkSchema.optional(),
  storm_control: portStormSchema.prefault({}),
  multicast: portMulticast('auto', true),
  /** Of the endpoints in one namespace the highest has the default route; among equals, the first network by name. */
  gateway_priority: integerField(-1_000_000, 1_000_000).default(0),
  publish: listOf('published ports', publishField).default([]),
}).superRefine((endpoint, context) => {
  const given = TARGET_KEYS.filter((key) => endpoint[key] !== undefined);
  if (given.length !== 1) {
    const got = given.length === 0 ? 'none of them' : given.join(' and ');
    refuse(context, [], `expected exactly one of netns, pid, container, got ${got}`);
  }
  refuseVlanAndTrunk(endpoint, context);
  const { isolated, isolation_group, mac_limit, macs, security } = endpoint;
  if (isolation_group !== undefined && isolated === false) {
    refuse(context, ['isolation_group'], 'a member of an isolation group is isolated; leave out isolated: false');
  }
  const least = 1 + macs.length;
  if (security !== 'off' && mac_limit !== undefined && mac_limit >= 1 && mac_limit < least) {
    refuse(context, ['mac_limit'], `expected at least ${least}, for its own MAC and those of macs, got ${mac_limit}`);
  }
});

export const ROUTE_TYPES = ['blackhole', 'unreachable', 'prohibit'] as const;

/** Before the default routes of an uplink, behind what somebody says should come first. */
export const DEFAULT_METRIC = 100;
export const MAX_METRIC = 2_147_483_647;

/** One address, or a list; mistakes are said of the one, or of the entry. */
const viaField = z.unknown().transform((via, context): string[] => {
  const result = Array.isArray(via) ? nonEmptyListOf('next hops', hopField).safeParse(via) : hopField.safeParse(via);
  if (result.success) return [result.data].flat();
  for (const { message, path } of result.error.issues) context.addIssue({ code: 'custom', message, path: [...path] });
  return z.NEVER;
});

function familyOf(address: string): string {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

export const routeSchema = mapping('a route: a mapping with to, and either via or type', {
  to: prefixField,
  /** Several: the flow decides. */
  via: viaField.optional(),
  type: oneOf(ROUTE_TYPES).optional(),
  /** The lowest that works is taken. */
  metric: integerField(0, MAX_METRIC).default(DEFAULT_METRIC),
}).superRefine(({ to, via, type }, context) => {
  if ((via === undefined) === (type === undefined)) {
    refuse(context, [], `expected exactly one of via and type, got ${via === undefined ? 'none of them' : 'both'}`);
    return;
  }
  via?.forEach((hop, index) => {
    const path = ['via', ...(via.length > 1 ? [index] : [])];
    if (familyOf(hop) !== familyOf(to))
      refuse(context, path, `expected an ${familyOf(to)} address, as ${to} is ${familyOf(to)}, got ${hop}`);
    if (via.indexOf(hop) !== index) refuse(context, path, `${hop} given twice`);
  });
});

export const vrfSchema = mapping('a VRF: a mapping with interconnect, routes, ip_options', {
  /** Its networks reach each other. Unless given: false for the VRF `default`, true for all others. */
  interconnect: booleanField.optional(),
  routes: listOf('routes', routeSchema).default([]),
  /** IPv4 options that are processed; else a packet that has them is dropped. */
  ip_options: mapping('a mapping with record_route and timestamp', {
    record_route: booleanField.default(false),
    timestamp: booleanField.default(false),
  }).prefault({}),
});

const mirrorSourceSchema = mapping('a mapping with one of network, endpoint, uplink', {
  network: nameField.optional(),
  endpoint: nameField.optional(),
  uplink: z.literal(true, { error: 'expected true' }).optional(),
}).superRefine((source, context) => {
  const given = Object.values(source).filter((value) => value !== undefined).length;
  if (given !== 1) refuse(context, [], 'expected exactly one of network, endpoint, uplink');
});

export const mirrorSchema = mapping('a mirror: a mapping with from and to', {
  from: mirrorSourceSchema,
  /** Name of an endpoint. */
  to: nameField,
  direction: oneOf(['both', 'in', 'out']).default('both'),
});

export const SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'sh', 'maglev'] as const;

export const MAX_WEIGHT = 65_535;

export const backendSchema = mapping('a backend: a mapping with endpoint and port, and weight where wanted', {
  endpoint: nameField,
  /** For the first port of a listener; those of a range follow in order. */
  port: integerField(1, 65_535),
  /** 0: no new connections; those that there are go on. */
  weight: integerField(0, MAX_WEIGHT).default(1),
});

/** How a backend's health is found out, from inside the network. Seconds. */
export const healthSchema = mapping('a mapping with type, and path, status, interval and so on where wanted', {
  type: oneOf(['tcp', 'http', 'https']),
  /** The backend's unless given. */
  port: integerField(1, 65_535).optional(),
  path: textField('a path such as "/health"', (text) =>
    /^\/[\x21-\x7e]*$/.test(text) ? { value: text } : { expected: 'a path such as "/health"' },
  ).optional(),
  /** The Host header; the backend's address unless given. */
  host: nameField.optional(),
  /** A code, or a range of them. */
  status: statusField.optional(),
  /** Text that the body must have in it. */
  body: z.string({ error: 'expected text' }).min(1, { error: 'expected text' }).optional(),
  interval: integerField(1, 3600).default(2),
  timeout: integerField(1, 3600).default(2),
  /** Checks in a row that a backend must pass to be up again, and fail to be down. */
  rise: integerField(1, 100).default(2),
  fall: integerField(1, 100).default(3),
}).superRefine(({ type, path, host, status, body }, context) => {
  const given = Object.entries({ path, host, status, body }).filter(([, value]) => value !== undefined);
  if (type === 'tcp' && given[0] !== undefined) refuse(context, [given[0][0]], 'needs type: http or type: https');
});

/** What connections tell of their backends. */
const passiveSchema = mapping('a mapping with failures and time', {
  /** Connections in a row that a backend refuses or does not answer before others get the next ones; 0: never. */
  failures: integerField(0, 1000).default(3),
  /** Seconds that it gets none. */
  time: integerField(1, 3600).default(10),
});

export const serviceSchema = mapping('a service: a mapping with network, listen and backends', {
  network: nameField,
  listen: nonEmptyListOf('listening addresses', listenField),
  scheduler: oneOf(SCHEDULERS).default('rr'),
  backends: listOf('backends', backendSchema).default([]),
  /** direct: packets reach backends as they are, and answers go straight to clients; backends have the service's address too. */
  forwarding: oneOf(['nat', 'direct']).default('nat'),
  /** Seconds that a client keeps its backend; 0: it does not. */
  affinity: integerField(0, 86_400).default(0),
  /** Entries of the table of sh and maglev. */
  table_size: primeField(251, 1_048_573).default(65_537),
  /** Seconds until connections of a backend that drains (weight 0) are ended; 0: they end by themselves. */
  drain_timeout: integerField(0, 86_400).default(0),
  /** New connections a second above which no more are noted, and hashing goes on without; 0: no such rate. */
  flood_rate: integerField(0, 10_000_000).default(100_000),
  health: healthSchema.optional(),
  passive: passiveSchema.prefault({}),
});

const matchSchema = mapping('a mapping with one of network, endpoint, cidr', {
  network: nameField.optional(),
  endpoint: nameField.optional(),
  cidr: cidrField.optional(),
}).superRefine((match, context) => {
  const given = Object.values(match).filter((value) => value !== undefined).length;
  if (given !== 1) refuse(context, [], 'expected exactly one of network, endpoint, cidr');
});

export const policyRuleSchema = mapping('a rule: a mapping with action, and from, to, proto, ports where wanted', {
  from: matchSchema.optional(),
  to: matchSchema.optional(),
  proto: oneOf(['tcp', 'udp', 'sctp', 'icmp', 'icmpv6']).optional(),
  ports: listOf('ports', policyPortField).default([]),
  action: oneOf(['accept', 'drop', 'reject']),
});

/** Seconds that idle connections are kept, by state; the least that RFC 5382 (REQ-5), RFC 4787 (REQ-5) and RFC 5508 (REQ-2) allow. */
const LONGEST_TIMEOUT = 2_592_000;
const timeoutField = (least: number, standard: number) => integerField(least, LONGEST_TIMEOUT).default(standard);

const natTimeoutsSchema = mapping('a mapping with tcp_syn, tcp_established and so on', {
  tcp_syn: timeoutField(240, 240),
  tcp_established: timeoutField(7440, 86_400),
  tcp_fin: timeoutField(240, 240),
  tcp_closing: timeoutField(240, 240),
  tcp_reset: timeoutField(240, 240),
  udp: timeoutField(120, 300),
  udp_stream: timeoutField(120, 300),
  icmp: timeoutField(60, 60),
  sctp_opening: timeoutField(1, 240),
  sctp_established: timeoutField(1, 86_400),
  other: timeoutField(1, 600),
});

export const natSchema = mapping('a mapping with mapping, filtering, ports and so on', {
  mapping: oneOf(['endpoint_independent', 'address_and_port_dependent']).default('endpoint_independent'),
  filtering: oneOf(['endpoint_independent', 'address_dependent', 'address_and_port_dependent']).default(
    'address_dependent',
  ),
  /** Of external addresses, for translated connections. */
  ports: portRangeField.optional(),
  /** Ports that an endpoint gets at a time; 0: one by one, out of all. */
  port_block: integerField(0, 16_384).default(0),
  max_flows: integerField(1024, 2_097_152).default(1_048_576),
  flows_per_endpoint: integerField(16, 4_194_304).default(131_072),
  alg: listOf('protocols', oneOf(['ftp', 'tftp'])).default([]),
  timeouts: natTimeoutsSchema.prefault({}),
}).superRefine(({ port_block, ports, alg }, context) => {
  if (port_block > 0 && (port_block & (port_block - 1)) !== 0)
    refuse(context, ['port_block'], `expected a power of two, or 0 for none, got ${port_block}`);
  const range = ports === undefined ? null : parsePortRange(ports);
  if (range !== null && port_block > range.last - range.first + 1)
    refuse(
      context,
      ['port_block'],
      `expected no more than the ${range.last - range.first + 1} of ports, got ${port_block}`,
    );
  alg.forEach((name, index) => {
    if (alg.indexOf(name) !== index) refuse(context, ['alg', index], `${name} given twice`);
  });
});

export const fileSchema = mapping('a mapping that begins with version: 1', {
  version: z.literal(1, { error: 'expected 1, the only version there is' }),
  uplink: uplinkSchema.optional(),
  vrfs: mappingOf('VRFs', vrfSchema).default({}),
  networks: mappingOf('networks', networkSchema).default({}),
  endpoints: mappingOf('endpoints', endpointSchema).default({}),
  mirrors: mappingOf('mirrors', mirrorSchema).default({}),
  services: mappingOf('services', serviceSchema).default({}),
  policy: listOf('rules', policyRuleSchema).default([]),
  nat: natSchema.prefault({}),
});

export type UplinkConfig = z.output<typeof uplinkSchema>;
export type BridgedUplinkConfig = Extract<UplinkConfig, { mode: 'bridged' }>;
export type OwnUplinkConfig = Extract<UplinkConfig, { mode: 'own' }>;
export type RoutedUplinkConfig = Extract<UplinkConfig, { mode: 'routed' }>;
export type VrfConfig = z.output<typeof vrfSchema>;
export type RouteConfig = z.output<typeof routeSchema>;
/** All defaults applied; what is optional has none. */
export type VxlanConfig = z.output<typeof vxlanSchema>;
export type NetworkConfig = z.output<typeof networkSchema>;
export type EndpointConfig = z.output<typeof endpointSchema>;
export type MirrorConfig = z.output<typeof mirrorSchema>;
export type TrunkConfig = z.output<typeof trunkSchema>;
export type StormConfig = z.output<typeof networkStormSchema>;
export type PortStormConfig = z.output<typeof portStormSchema>;
export type HealthConfig = z.output<typeof healthSchema>;
export type BackendConfig = z.output<typeof backendSchema>;
export type ServiceConfig = z.output<typeof serviceSchema>;
export type NatConfig = z.output<typeof natSchema>;
export type PolicyRule = z.output<typeof policyRuleSchema>;

/** What holds where nothing is said. */
export const DEFAULT_NAT: NatConfig = natSchema.parse({});

/** A whole configuration, valid object by object. Maps keep the order of the file, also for names that look like numbers. */
export interface Configuration {
  readonly uplink: UplinkConfig | null;
  readonly vrfs: ReadonlyMap<string, VrfConfig>;
  readonly networks: ReadonlyMap<string, NetworkConfig>;
  readonly endpoints: ReadonlyMap<string, EndpointConfig>;
  readonly mirrors: ReadonlyMap<string, MirrorConfig>;
  readonly services: ReadonlyMap<string, ServiceConfig>;
  readonly policy: readonly PolicyRule[];
  readonly nat: NatConfig;
}
