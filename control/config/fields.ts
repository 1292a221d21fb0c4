/**
 * The scalar fields of the configuration: what each accepts, in one phrase that is also its error message, and the
 * canonical form that the rest of Tapline sees.
 */

import { z } from 'zod';
import { isPrime } from '../../core/lb/maglev.js';
import { MAX_STORM_RATE } from '../../core/switch/storm.js';
import {
  type Address,
  addressBits,
  canonicalAddress,
  canonicalMac,
  type Family,
  formatAddress,
  formatSubnet,
  hostMask,
  isUnicastMac,
  parseAddress,
  parseCidr,
  type Subnet,
  subnetOf,
} from './address.js';
import { MAX_VLAN, MIN_VLAN, parseVlanRange, vlanMistake } from './vlan.js';

/** Either the canonical value, or a phrase that completes "expected ...". */
type Read<T> = { readonly value: T } | { readonly expected: string };

/** A text field that `read` turns into its canonical value. */
export function textField<T>(expected: string, read: (text: string) => Read<T>) {
  return z.string({ error: `expected ${expected}` }).transform((text, context): T => {
    const result = read(text);
    if ('value' in result) return result.value;
    context.addIssue({ code: 'custom', message: `expected ${result.expected}` });
    return z.NEVER;
  });
}

/** A text field kept as it is when it satisfies `valid`. */
function checkedField(expected: string, valid: (text: string) => boolean) {
  return textField<string>(expected, (text) => (valid(text) ? { value: text } : { expected }));
}

export function integerField(min: number, max: number) {
  const error = `expected an integer from ${min} to ${max}`;
  return z.number({ error }).refine((n) => Number.isInteger(n) && n >= min && n <= max, { error });
}

export const booleanField = z.boolean({ error: 'expected true or false' });

export function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: `expected one of ${values.join(', ')}` });
}

const refusedFields = new WeakSet<z.ZodType>();

/** A key that is refused by name, whatever it says, and is not among those that a mapping may have. @param why the whole line */
export function refusedField(why: string) {
  const field = z
    .unknown()
    .optional()
    .superRefine((value, context) => {
      if (value !== undefined) context.addIssue({ code: 'custom', message: why, params: { complete: true } });
    });
  refusedFields.add(field);
  return field;
}

/** A mapping that knows all its keys. */
export function mapping<T extends z.ZodRawShape>(what: string, shape: T) {
  const keys = Object.keys(shape).filter((key) => !refusedFields.has(shape[key] as unknown as z.ZodType));
  const known = keys.length === 0 ? 'none' : `one of ${keys.join(', ')}`;
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? `unknown key; expected ${known}` : `expected ${what}`),
  });
}

export function listOf<T extends z.ZodType>(what: string, item: T) {
  return z.array(item, { error: `expected a list of ${what}` });
}

export function nonEmptyListOf<T extends z.ZodType>(what: string, item: T) {
  return listOf(what, item).min(1, { error: `expected at least one entry in the list of ${what}` });
}

export function mappingOf<T extends z.ZodType>(what: string, value: T) {
  return z.record(nameField, value, { error: `expected a mapping of names to ${what}` });
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const NAME_LENGTH = 128;

/** Name of a network, an endpoint, a service or a container. */
export const nameField = checkedField(
  `a name of letters, digits, "_", "." and "-" that begins with a letter or digit, ${NAME_LENGTH} characters at most`,
  (text) => text.length <= NAME_LENGTH && NAME.test(text),
);

const INTERFACE = 'an interface name of 1 to 15 characters without spaces or any of /:%#\'"\\';
/** Directories of /proc/sys/net/ipv4/conf, which the kernel therefore takes for no interface. */
const KEPT_INTERFACES: readonly string[] = ['all', 'default'];

/**
 * IFNAMSIZ is 16 with the final zero; `/`, `:` and spaces as in the kernel's dev_valid_name, `%` since TUNSETIFF expands
 * it; `#`, quotes and backslashes since `ip -batch` reads them as its own syntax.
 */
export const interfaceField = textField(INTERFACE, (text) => {
  if (KEPT_INTERFACES.includes(text)) return { expected: 'an interface name that the kernel does not keep for itself' };
  const bytes = Buffer.byteLength(text);
  const ok = bytes >= 1 && bytes <= 15 && text !== '.' && text !== '..' && !hasForbiddenCharacter(text);
  return ok ? { value: text } : { expected: INTERFACE };
});

function hasForbiddenCharacter(text: string): boolean {
  for (const character of text) {
    if ('/:%#\'"\\'.includes(character) || /\s/.test(character) || character < ' ' || character === '\x7f') return true;
  }
  return false;
}

export const pathField = checkedField('an absolute path', (text) => text.startsWith('/') && !text.includes('\0'));

export const addressField = textField('an IPv4 or IPv6 address', (text) => {
  const value = canonicalAddress(text);
  if (value !== null) return { value };
  if (parseCidr(text) !== null) return { expected: 'an address without a prefix length' };
  return { expected: 'an IPv4 or IPv6 address' };
});

const INTERFACE_ADDRESS = 'an address with a prefix length, such as 10.77.0.1/24';

/** An address of the uplink with the prefix length of its wire. */
export const interfaceAddressField = textField(INTERFACE_ADDRESS, (text) => {
  const cidr = parseCidr(text);
  if (cidr === null) return { expected: INTERFACE_ADDRESS };
  const { address, prefix } = cidr;
  const reserved = reservedRange({ family: address.family, base: address.value, prefix: addressBits(address.family) });
  if (reserved !== null) return { expected: reserved.replace('a subnet', 'an address') };
  return { value: `${formatAddress(address)}/${prefix}` };
});

/** A prefix that policy rules match; any length, host bits zero. */
export const cidrField = textField('a prefix such as 10.0.0.0/8', (text) => {
  const cidr = parseCidr(text);
  if (cidr === null) return { expected: 'a prefix such as 10.0.0.0/8' };
  const subnet = subnetOf(cidr.address, cidr.prefix);
  if (subnet.base !== cidr.address.value) return { expected: `${formatSubnet(subnet)}, the prefix without host bits` };
  return { value: formatSubnet(subnet) };
});

/** Prefix lengths that leave room for a gateway and an endpoint, and that a person can mean. */
const SUBNET_PREFIX: Readonly<Record<Family, readonly [number, number]>> = { 4: [8, 30], 6: [16, 126] };

/** Ranges in which no endpoint can live (RFC 6890). */
const RESERVED: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', 'this-network'],
  ['127.0.0.0/8', 'loopback'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/16', 'unspecified, loopback and IPv4-mapped'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
];

function reservedRange(subnet: Subnet): string | null {
  for (const [text, what] of RESERVED) {
    const cidr = parseCidr(text);
    if (cidr === null || cidr.address.family !== subnet.family) continue;
    const range = subnetOf(cidr.address, cidr.prefix);
    const end = range.base | hostMask(range.family, range.prefix);
    if (subnet.base <= end && range.base <= (subnet.base | hostMask(subnet.family, subnet.prefix))) {
      return `a subnet outside the ${what} range ${text}`;
    }
  }
  return null;
}

const LINK_LOCAL = 'fe80::/10';

/** @param range a prefix in text */
function isInside({ family, base, prefix }: Subnet, range: string): boolean {
  const cidr = parseCidr(range);
  if (cidr === null || cidr.address.family !== family || prefix < cidr.prefix) return false;
  return subnetOf({ family, value: base }, cidr.prefix).base === cidr.address.value;
}

/** Why packets are not routed to a prefix, as the end of an error line; or null. The default route is above all ranges. */
function unroutable(subnet: Subnet): string | null {
  const found = RESERVED.find(([text]) => isInside(subnet, text));
  return found === undefined ? null : `a prefix outside the ${found[1]} range ${found[0]}`;
}

/** An address stands for the prefix that has it alone. @param phrase completes "expected ..." */
function readPrefix(text: string, phrase: string): Read<string> {
  const address = parseAddress(text);
  const cidr = address === null ? parseCidr(text) : { address, prefix: addressBits(address.family) };
  if (cidr === null) return { expected: phrase };
  const subnet = subnetOf(cidr.address, cidr.prefix);
  if (subnet.base !== cidr.address.value) return { expected: `${formatSubnet(subnet)}, the prefix without host bits` };
  const why = unroutable(subnet);
  return why === null ? { value: formatSubnet(subnet) } : { expected: why };
}

const PREFIX = 'a prefix such as 10.9.0.0/16, or an address';

/** Destination of a route; addresses that a gateway answers for. Always with a length. */
export const prefixField = textField(PREFIX, (text) => readPrefix(text, PREFIX));

const HOP = 'the address of a next hop';
const HOP_WITH_LINK = `${HOP}, or a link-local one with its interface, such as fe80::1%uplink`;

/** `10.77.0.254`; a link-local address says whose: `fe80::1%uplink`, `fe80::1%blue`. */
export const hopField = textField(HOP, (text) => {
  const [head = '', zone, ...rest] = text.split('%');
  const address = parseAddress(head);
  if (address === null || rest.length > 0) return { expected: HOP };
  const host: Subnet = { family: address.family, base: address.value, prefix: addressBits(address.family) };
  if (address.family === 6 && isInside(host, LINK_LOCAL)) {
    if (zone === undefined || zone.length > NAME_LENGTH || !NAME.test(zone)) return { expected: HOP_WITH_LINK };
    return { value: `${formatAddress(address)}%${zone}` };
  }
  if (zone !== undefined) return { expected: `${formatAddress(address)} alone: only link-local addresses need more` };
  const why = reservedRange(host);
  return why === null ? { value: formatAddress(address) } : { expected: `${HOP} that a host can have` };
});

function readSubnet(text: string): Read<string> {
  const cidr = parseCidr(text);
  if (cidr === null) return { expected: 'a subnet such as 172.30.0.0/24 or fd00:30::/64' };
  const { family } = cidr.address;
  const [min, max] = SUBNET_PREFIX[family];
  if (cidr.prefix < min || cidr.prefix > max)
    return { expected: `an IPv${family} prefix length from ${min} to ${max}` };
  const subnet = subnetOf(cidr.address, cidr.prefix);
  if (subnet.base !== cidr.address.value) return { expected: `${formatSubnet(subnet)}, the subnet without host bits` };
  const reserved = reservedRange(subnet);
  return reserved === null ? { value: formatSubnet(subnet) } : { expected: reserved };
}

export const subnetField = textField('a subnet such as 172.30.0.0/24 or fd00:30::/64', readSubnet);

export const macField = textField('a MAC address such as 02:42:ac:1e:00:02', (text) => {
  const value = canonicalMac(text);
  if (value === null) return { expected: 'a MAC address such as 02:42:ac:1e:00:02' };
  return isUnicastMac(value) ? { value } : { expected: 'a unicast MAC address (first octet even, not all zero)' };
});

const MAC_OR_ALL = 'a MAC address such as 02:42:ac:1e:00:02, or 00:00:00:00:00:00';

/** All zero: what is flooded. */
export const ALL_MACS = '00:00:00:00:00:00';

/** MAC of an FDB entry that leads to a VTEP. */
export const vtepMacField = textField(MAC_OR_ALL, (text) => {
  const value = canonicalMac(text);
  if (value === null) return { expected: MAC_OR_ALL };
  return value === ALL_MACS || isUnicastMac(value)
    ? { value }
    : { expected: 'a unicast MAC address (first octet even)' };
});

const MULTICAST: Readonly<Record<Family, string>> = { 4: '224.0.0.0/4', 6: 'ff00::/8' };
const SOURCE = 'an address or a prefix such as 10.8.0.0/24';

function isMulticast(subnet: Subnet): boolean {
  return isInside(subnet, MULTICAST[subnet.family]);
}

/** A source that an endpoint may also use; `10.8.0.1/32` becomes the address that it is. */
export const sourceField = textField(SOURCE, (text) => {
  const address = parseAddress(text);
  const cidr = address === null ? parseCidr(text) : { address, prefix: addressBits(address.family) };
  if (cidr === null) return { expected: SOURCE };
  const subnet = subnetOf(cidr.address, cidr.prefix);
  if (subnet.base !== cidr.address.value) return { expected: `${formatSubnet(subnet)}, the prefix without host bits` };
  if (isMulticast(subnet)) return { expected: `${SOURCE}, no multicast` };
  if (subnet.base === 0n && subnet.prefix === addressBits(subnet.family))
    return { expected: `${SOURCE}, not the unspecified address (DHCP and address probes may use it anyway)` };
  return { value: subnet.prefix === addressBits(subnet.family) ? formatAddress(cidr.address) : formatSubnet(subnet) };
});

const GROUP = 'a multicast address such as 239.1.1.1 or ff05::1:1';

/** A group of VTEPs. */
export const groupField = textField(GROUP, (text) => {
  const address = parseAddress(text);
  if (address === null) return { expected: GROUP };
  const host: Subnet = { family: address.family, base: address.value, prefix: addressBits(address.family) };
  return isMulticast(host) ? { value: formatAddress(address) } : { expected: GROUP };
});

const DSCP = 'expected inherit or an integer from 0 to 63';

/** Of outer packets (RFC 2474). */
export const dscpField = z
  .union([z.literal('inherit'), z.number()], { error: DSCP })
  .refine((dscp) => dscp === 'inherit' || (Number.isInteger(dscp) && dscp >= 0 && dscp <= 63), { error: DSCP });

const VLAN = `a VLAN, an integer from ${MIN_VLAN} to ${MAX_VLAN}`;
const VLAN_RANGE = 'a VLAN or a range such as "10-20"';

/** A mistake in it ends the reading of the object around it, whose own checks take VLANs for VLANs. */
export const vlanField = z.number({ error: `expected ${VLAN}` }).superRefine((vlan, context) => {
  const mistake = vlanMistake(vlan);
  if (mistake !== null) context.addIssue({ code: 'custom', message: mistake, continue: false });
});

function rangeMistake(item: number | string): string | null {
  if (typeof item === 'number') return vlanMistake(item);
  const range = parseVlanRange(item);
  if (range === null) return `expected ${VLAN_RANGE}`;
  if (range.last < range.first) return `expected the lower end of the range first, "${range.last}-${range.first}"`;
  return vlanMistake(range.first) ?? vlanMistake(range.last);
}

/** An entry of a trunk's list: a number, or a range in text. */
export const vlanRangeField = z
  .union([z.number(), z.string()], { error: `expected ${VLAN_RANGE}` })
  .superRefine((item, context) => {
    const mistake = rangeMistake(item);
    if (mistake !== null) context.addIssue({ code: 'custom', message: mistake, continue: false });
  });

const RATE = `expected off or an integer from 1 to ${MAX_STORM_RATE}`;

/** Frames a second. */
export const rateField = z
  .union([z.literal('off'), z.number()], { error: RATE })
  .refine((rate) => rate === 'off' || (Number.isInteger(rate) && rate >= 1 && rate <= MAX_STORM_RATE), { error: RATE });

/** A port number in text, or null. */
export function parsePort(text: string): number | null {
  if (!/^[1-9]\d{0,4}$/.test(text)) return null;
  const port = Number(text);
  return port <= 65535 ? port : null;
}

/** `PORT` or `FIRST-LAST`, in order; or null. */
export function parsePortRange(text: string): { first: number; last: number } | null {
  const [head = '', tail = head, ...rest] = text.split('-');
  const first = parsePort(head);
  const last = parsePort(tail);
  return rest.length > 0 || first === null || last === null || last < first ? null : { first, last };
}

const PUBLISH = 'a published port such as "8080:80", "10.77.0.1:5201:5201/tcp" or "6000-6010:6000-6010/udp"';
/** Address (IPv6 in brackets), outer ports, inner ports, protocol. */
const PUBLISH_SYNTAX = /^(?:(?:\[([^\]]+)\]|([0-9.]+)):)?([0-9-]+):([0-9-]+)(?:\/([a-z]+))?$/;

export const PUBLISH_PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;
export type PublishProtocol = (typeof PUBLISH_PROTOCOLS)[number];

/** What a text such as "10.77.0.1:8080:80/tcp" says. */
export interface PublishSpec {
  /** Null: all addresses of both families; the unspecified address: all of its family. */
  readonly address: Address | null;
  readonly protocol: PublishProtocol;
  /** Ports outside. */
  readonly first: number;
  readonly last: number;
  /** Port of the endpoint for the first; the others follow in order. */
  readonly inner: number;
}

export function readPublish(text: string): Read<PublishSpec> {
  const match = PUBLISH_SYNTAX.exec(text);
  const outer = parsePortRange(match?.[3] ?? '');
  const inner = parsePortRange(match?.[4] ?? '');
  if (match === null || outer === null || inner === null) return { expected: PUBLISH };
  const [listen, isBracketed] = [match[1] ?? match[2], match[1] !== undefined];
  const address = listen === undefined ? null : parseAddress(listen);
  if (listen !== undefined && (address === null || (address.family === 6) !== isBracketed))
    return { expected: 'an IPv4 address or an IPv6 address in brackets to publish on' };
  const protocol = PUBLISH_PROTOCOLS.find((one) => one === (match[5] ?? 'tcp'));
  if (protocol === undefined) return { expected: 'a published port of protocol tcp, udp or sctp' };
  if (outer.last - outer.first !== inner.last - inner.first) return { expected: 'two port ranges of equal length' };
  return { value: { address, protocol, ...outer, inner: inner.first } };
}

/** The one way to write it: protocol always, no ranges of one port. */
export function formatPublish({ address, protocol, first, last, inner }: PublishSpec): string {
  const where = address === null ? '' : address.family === 4 ? formatAddress(address) : `[${formatAddress(address)}]`;
  const ports = (from: number): string => (last === first ? `${from}` : `${from}-${from + last - first}`);
  return `${where === '' ? '' : `${where}:`}${ports(first)}:${ports(inner)}/${protocol}`;
}

export const publishField = textField<string>(PUBLISH, (text) => {
  const read = readPublish(text);
  return 'value' in read ? { value: formatPublish(read.value) } : read;
});

const LISTEN = 'a listening address such as "10.77.0.1:8080/tcp", "[fd00::1]:53/udp" or "8000-8010/tcp"';
/** Address (IPv6 in brackets; "8080:80" has none), ports, protocol. */
const LISTEN_SYNTAX = /^(?:(?:\[([^\]]+)\]|(\d+\.[0-9.]+)):)?([0-9-]+)(?:\/([a-z]+))?$/;

export const LISTEN_PROTOCOLS = ['tcp', 'udp'] as const;

/** What a text such as "10.77.0.1:8080/tcp" says. */
export interface ListenSpec {
  /** Null: all addresses of the uplink; the unspecified address: all of its family. */
  readonly address: Address | null;
  readonly protocol: (typeof LISTEN_PROTOCOLS)[number];
  readonly first: number;
  readonly last: number;
}

export function readListen(text: string): Read<ListenSpec> {
  const match = LISTEN_SYNTAX.exec(text);
  const ports = parsePortRange(match?.[3] ?? '');
  if (match === null || ports === null) return { expected: LISTEN };
  const [listen, isBracketed] = [match[1] ?? match[2], match[1] !== undefined];
  const address = listen === undefined ? null : parseAddress(listen);
  if (listen !== undefined && (address === null || (address.family === 6) !== isBracketed))
    return { expected: 'an IPv4 address or an IPv6 address in brackets to listen on' };
  const protocol = LISTEN_PROTOCOLS.find((one) => one === (match[4] ?? 'tcp'));
  if (protocol === undefined) return { expected: 'a listening address of protocol tcp or udp' };
  return { value: { address, protocol, ...ports } };
}

/** The one way to write it: protocol always, no ranges of one port. */
export function formatListen({ address, protocol, first, last }: ListenSpec): string {
  const where = address === null ? '' : address.family === 4 ? formatAddress(address) : `[${formatAddress(address)}]`;
  return `${where === '' ? '' : `${where}:`}${first === last ? first : `${first}-${last}`}/${protocol}`;
}

export const listenField = textField<string>(LISTEN, (text) => {
  const read = readListen(text);
  return 'value' in read ? { value: formatListen(read.value) } : read;
});

const STATUS = 'an HTTP status code or a range such as "200-399"';

/** @returns null where it is none */
export function parseStatus(text: string): { first: number; last: number } | null {
  const match = /^([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  return match === null || last < first ? null : { first, last };
}

/** Status codes: a number, or a range in text. */
export const statusField = z.union(
  [integerField(100, 599), checkedField(STATUS, (text) => parseStatus(text) !== null)],
  { error: `expected ${STATUS}` },
);

/** A prime number. */
export function primeField(least: number, most: number) {
  return integerField(least, most).refine(isPrime, { error: `expected a prime number from ${least} to ${most}` });
}

const PORT_RANGE = 'a port number or a range such as "6000-6010"';

/** A port of a policy rule: a number, or a range in text. */
export const policyPortField = z.union(
  [integerField(1, 65535), checkedField(PORT_RANGE, (text) => parsePortRange(text) !== null)],
  {
    error: `expected ${PORT_RANGE}`,
  },
);

/** Fewer are soon used up; a parity needs several (RFC 4787, REQ-4). */
const LEAST_PORTS = 8;
const PORTS = `a range of at least ${LEAST_PORTS} ports such as "49152-65535"`;

/** The ports of address translation, such as "49152-65535". */
export const portRangeField = checkedField(PORTS, (text) => {
  const range = parsePortRange(text);
  return range !== null && range.last - range.first + 1 >= LEAST_PORTS;
});

function readSource(text: string, phrase: string): Read<string> {
  const address = parseAddress(text);
  if (address === null) return { expected: phrase };
  const reserved = reservedRange({ family: address.family, base: address.value, prefix: addressBits(address.family) });
  if (reserved !== null) return { expected: reserved.replace('a subnet', 'an address') };
  return { value: formatAddress(address) };
}

/** An address that packets leave from. */
export const poolAddressField = textField('an IPv4 or IPv6 address', (text) =>
  readSource(text, 'an IPv4 or IPv6 address'),
);

const MASQUERADE = 'true, false, or an address such as 10.77.0.5';

/** The same where true and false may stand as well. */
export const masqueradeAddressField = textField(MASQUERADE, (text) => readSource(text, MASQUERADE));

const OUTSIDE_PREFIX = 'an IPv6 prefix such as 2001:db8:1::/64';

/** What takes the place of an IPv6 subnet outside. */
export const outsidePrefixField = textField(OUTSIDE_PREFIX, (text) => {
  const cidr = parseCidr(text);
  if (cidr === null || cidr.address.family !== 6) return { expected: OUTSIDE_PREFIX };
  const subnet = subnetOf(cidr.address, cidr.prefix);
  if (subnet.base !== cidr.address.value) return { expected: `${formatSubnet(subnet)}, the prefix without host bits` };
  const reserved = reservedRange(subnet);
  return reserved === null ? { value: formatSubnet(subnet) } : { expected: reserved.replace('a subnet', 'a prefix') };
});
