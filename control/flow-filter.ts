/** Which flows somebody asks for, in the dataplane's numbers. */

import { words } from './address-words.js';
import { parseSubnet, type Subnet } from './config/address.js';
import type { Daemon } from './daemon.js';
import { TaplineError } from './errors.js';
import { protocolNumber, type StateName, stateMask } from './flow-names.js';
import { endpointPrefixes } from './policy-objects.js';
import type { EndpointState, NetworkState } from './state.js';
import type { FlowFilter, FlowParty, FlowPrefix } from './worker-protocol.js';

/** Validated; what is not given does not matter. */
export interface FlowRequest {
  /** Name or number. */
  readonly proto?: string | undefined;
  readonly state?: StateName | undefined;
  /** Where it began: a prefix. */
  readonly src?: string | undefined;
  /** Where it was to go, or was sent instead. */
  readonly dst?: string | undefined;
  readonly port?: number | undefined;
  readonly endpoint?: string | undefined;
  readonly network?: string | undefined;
  /** Through this one. */
  readonly service?: string | undefined;
  /** Translated ones only. */
  readonly nat?: boolean | undefined;
}

/** Whether anything is asked for in particular. */
export function isSelective({ nat = false, ...request }: FlowRequest): boolean {
  return nat || Object.values(request).some((value) => value !== undefined);
}

/** @throws TaplineError `missing` for an endpoint, network or service that is not there, `invalid` */
export function flowFilter(daemon: Daemon, request: FlowRequest): FlowFilter {
  const { proto, state, src, dst, port = 0, nat = false, service } = request;
  return {
    protocol: proto === undefined ? 0 : (protocolNumber(proto) ?? 0),
    states: state === undefined ? 0 : stateMask(state),
    source: src === undefined ? null : flowPrefix(src),
    destination: dst === undefined ? null : flowPrefix(dst),
    port,
    reached: null,
    translated: nat,
    party: partyOf(daemon, request),
    backends: service === undefined ? null : daemon.services.get(service).backends.map(({ number }) => number),
    spared: [],
  };
}

function partyOf(daemon: Daemon, { endpoint: name, network: networkName }: FlowRequest): FlowParty | null {
  const network = networkName === undefined ? null : daemon.network(networkName);
  if (name === undefined) return network === null ? null : networkParty(daemon, network);
  const endpoint = daemon.endpoint(name);
  const own = endpoint.config.network;
  if (network !== null && network.name !== own)
    throw new TaplineError('invalid', `${name} is on network ${own}, not on ${network.name}`, 'endpoint');
  return endpointParty(daemon, endpoint, daemon.network(own));
}

function endpointParty(daemon: Daemon, endpoint: EndpointState, network: NetworkState): FlowParty {
  // Only where its gateway is outside has a network no interface of the router.
  const isBridged = daemon.interfaces.get(network.name) === undefined;
  const prefixes = endpointPrefixes(endpoint, network.config, isBridged);
  return { owners: liveNumbers([endpoint.port]), prefixes: prefixes.map(flowPrefix), ...placeOf(daemon, network) };
}

function networkParty(daemon: Daemon, network: NetworkState): FlowParty {
  const owners = daemon.endpointsOf(network.name).map(({ port }) => port);
  const prefixes = network.config.subnets.map(flowPrefix);
  return { owners: liveNumbers(owners), prefixes, ...placeOf(daemon, network) };
}

/** An endpoint without a port yet owns nothing; 0 owns what the router itself has begun. */
function liveNumbers(ports: readonly number[]): number[] {
  return ports.filter((port) => port > 0);
}

function placeOf(daemon: Daemon, { config, id }: NetworkState): Pick<FlowParty, 'vrf' | 'domain'> {
  return { vrf: daemon.interfaces.vrfs.numberOf(config.vrf) ?? 0, domain: id };
}

/** @param text prefix, validated */
function flowPrefix(text: string): FlowPrefix {
  const subnet = parseSubnet(text);
  return {
    isIpv6: subnet.family === 6,
    words: prefixWords(subnet),
    length: subnet.prefix + (subnet.family === 4 ? 96 : 0),
  };
}

function prefixWords({ family, base }: Subnet): number[] {
  return words(family === 4 ? (0xffffn << 32n) | base : base, 4);
}
