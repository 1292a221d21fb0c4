/**
 * The configuration contract as zod schemas. The file, the HTTP API and the CLI all read their objects through these,
 * so names, defaults and messages are the same everywhere. What concerns several objects at once is in `check.ts`;
 * what this version does not build yet is in `supported.ts`.
 */

import { z } from 'zod';
import {
  addressField,
  booleanField,
  cidrField,
  integerField,
  interfaceAddressField,
  interfaceField,
  listenField,
  listOf,
  macField,
  mapping,
  mappingOf,
  nameField,
  nonEmptyListOf,
  oneOf,
  pathField,
  policyPortField,
  publishField,
  rateField,
  sourceField,
  subnetField,
  vlanField,
  vlanRangeField,
} from './fields.js';
import { vlanRange } from './vlan.js';

const device = interfaceField;

const ownUplink = mapping('an uplink', {
  device,
  mode: z.literal('own'),
  addresses: nonEmptyListOf('addresses with prefix length', interfaceAddressField),
  gateway: addressField.optional(),
});

const sharedUplink = mapping('an uplink', { device, mode: z.literal('shared') });

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
  addresses: nonEmptyListOf('addresses with prefix length', interfaceAddressField),
  gateway: addressField.optional(),
});

export const uplinkSchema = z.discriminatedUnion('mode', [ownUplink, sharedUplink, bridgedUplink, routedUplink], {
  error: (issue) =>
    issue.code === 'invalid_union'
      ? 'expected one of own, shared, bridged, routed'
      : 'expected a mapping with device and mode',
});

const vxlanSchema = mapping('a mapping with vni, local and remotes', {
  vni: integerField(1, 16_777_215),
  local: addressField,
  remotes: listOf('VTEP addresses', addressField),
  port: integerField(1, 65_535).default(4789),
});

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

/** MAX_MTU of the kernel's drivers/net/tun.c (65535) less the Ethernet header. */
const TAP_MAX_MTU = 65_521;

export const networkSchema = mapping('a network: a mapping with subnets', {
  subnets: nonEmptyListOf('subnets', subnetField),
  gateways: listOf('gateway addresses', addressField).default([]),
  /** Bytes of IP packet; 68 is the least that RFC 791 allows. */
  mtu: integerField(68, TAP_MAX_MTU).default(1500),
  internal: booleanField.default(false),
  isolated: booleanField.default(false),
  masquerade: booleanField.default(true),
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

const backendSchema = mapping('a backend: a mapping with endpoint and port', {
  endpoint: nameField,
  port: integerField(1, 65_535),
  weight: integerField(0, 65_535).default(1),
});

export const serviceSchema = mapping('a service: a mapping with network, listen and backends', {
  network: nameField,
  listen: nonEmptyListOf('listening addresses', listenField),
  scheduler: nameField.default('rr'),
  backends: listOf('backends', backendSchema),
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
  proto: oneOf(['tcp', 'udp', 'icmp', 'icmpv6']).optional(),
  ports: listOf('ports', policyPortField).default([]),
  action: oneOf(['accept', 'drop', 'reject']),
});

export const fileSchema = mapping('a mapping that begins with version: 1', {
  version: z.literal(1, { error: 'expected 1, the only version there is' }),
  uplink: uplinkSchema.optional(),
  networks: mappingOf('networks', networkSchema).default({}),
  endpoints: mappingOf('endpoints', endpointSchema).default({}),
  mirrors: mappingOf('mirrors', mirrorSchema).default({}),
  services: mappingOf('services', serviceSchema).default({}),
  policy: listOf('rules', policyRuleSchema).default([]),
});

export type UplinkConfig = z.output<typeof uplinkSchema>;
export type BridgedUplinkConfig = Extract<UplinkConfig, { mode: 'bridged' }>;
export type NetworkConfig = z.output<typeof networkSchema>;
export type EndpointConfig = z.output<typeof endpointSchema>;
export type MirrorConfig = z.output<typeof mirrorSchema>;
export type TrunkConfig = z.output<typeof trunkSchema>;
export type StormConfig = z.output<typeof networkStormSchema>;
export type PortStormConfig = z.output<typeof portStormSchema>;
export type ServiceConfig = z.output<typeof serviceSchema>;
export type PolicyRule = z.output<typeof policyRuleSchema>;

/** A whole configuration, valid object by object. Maps keep the order of the file, also for names that look like numbers. */
export interface Configuration {
  readonly uplink: UplinkConfig | null;
  readonly networks: ReadonlyMap<string, NetworkConfig>;
  readonly endpoints: ReadonlyMap<string, EndpointConfig>;
  readonly mirrors: ReadonlyMap<string, MirrorConfig>;
  readonly services: ReadonlyMap<string, ServiceConfig>;
  readonly policy: readonly PolicyRule[];
}
