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
  subnetField,
} from './fields.js';

const device = interfaceField;

const ownUplink = mapping('an uplink', {
  device,
  mode: z.literal('own'),
  addresses: nonEmptyListOf('addresses with prefix length', interfaceAddressField),
  gateway: addressField.optional(),
});

const sharedUplink = mapping('an uplink', { device, mode: z.literal('shared') });

const bridgedUplink = mapping('an uplink', {
  device,
  mode: z.literal('bridged'),
  network: nameField,
  vlan: integerField(1, 4094).optional(),
});

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
  fdb_limit: integerField(1, 1_048_576).default(DEFAULT_FDB_LIMIT),
  vxlan: vxlanSchema.optional(),
});

/** The three ways to say which container; exactly one is given. */
export const TARGET_KEYS = ['netns', 'pid', 'container'] as const;

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
  publish: listOf('published ports', publishField).default([]),
}).superRefine((endpoint, context) => {
  const given = TARGET_KEYS.filter((key) => endpoint[key] !== undefined);
  if (given.length === 1) return;
  const got = given.length === 0 ? 'none of them' : given.join(' and ');
  context.addIssue({
    code: 'custom',
    message: `expected exactly one of netns, pid, container, got ${got}`,
    params: { complete: true },
  });
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
  if (given !== 1) {
    context.addIssue({
      code: 'custom',
      message: 'expected exactly one of network, endpoint, cidr',
      params: { complete: true },
    });
  }
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
  services: mappingOf('services', serviceSchema).default({}),
  policy: listOf('rules', policyRuleSchema).default([]),
});

export type UplinkConfig = z.output<typeof uplinkSchema>;
export type BridgedUplinkConfig = Extract<UplinkConfig, { mode: 'bridged' }>;
export type NetworkConfig = z.output<typeof networkSchema>;
export type EndpointConfig = z.output<typeof endpointSchema>;
export type ServiceConfig = z.output<typeof serviceSchema>;
export type PolicyRule = z.output<typeof policyRuleSchema>;

/** A whole configuration, valid object by object. Maps keep the order of the file, also for names that look like numbers. */
export interface Configuration {
  readonly uplink: UplinkConfig | null;
  readonly networks: ReadonlyMap<string, NetworkConfig>;
  readonly endpoints: ReadonlyMap<string, EndpointConfig>;
  readonly services: ReadonlyMap<string, ServiceConfig>;
  readonly policy: readonly PolicyRule[];
}
