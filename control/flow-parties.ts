/** Filters for all connections of somebody. */

import { withoutLength } from './config/address.js';
import { ANY_FLOW } from './nat-client.js';
import { addressWords } from './router-specs.js';
import type { FlowFilter, FlowParty, FlowPrefix } from './worker-protocol.js';

/** What is bridged ends with the port by itself. */
const NO_DOMAIN = -1;
/** In a mapped address. */
const IPV4_PREFIX = 96;

/** An address alone. */
export function hostPrefix(address: string): FlowPrefix {
  return { isIpv6: address.includes(':'), words: addressWords(address), length: 128 };
}

/** Every address of a family. */
export function anyPrefix(family: 4 | 6): FlowPrefix {
  const [any, length] = family === 6 ? ['::', 0] : ['0.0.0.0', IPV4_PREFIX];
  return { isIpv6: family === 6, words: addressWords(any), length };
}

/**
 * Who has some addresses.
 *
 * @param addresses with prefix length or without; what is behind it does not matter
 * @param owners numbers of its ports
 * @param vrf the dataplane's number
 */
export function partyOf(addresses: readonly string[], owners: readonly number[], vrf: number): FlowParty {
  const prefixes = addresses.map((text) => hostPrefix(withoutLength(text)));
  return { owners, prefixes, vrf, domain: NO_DOMAIN };
}

/** All connections to and from an endpoint. Parameters as of `partyOf`. */
export function flowsOf(addresses: readonly string[], owners: readonly number[], vrf: number): FlowFilter {
  return { ...ANY_FLOW, party: partyOf(addresses, owners, vrf) };
}

/** All connections through the router of a VRF. @param vrf the dataplane's number */
export function flowsIn(vrf: number): FlowFilter {
  return { ...ANY_FLOW, party: { owners: [], prefixes: [anyPrefix(4), anyPrefix(6)], vrf, domain: NO_DOMAIN } };
}
