/**
 * A router that translates addresses, without a kernel. The router's lab (../router/lab.ts) with tracking, and the world behind its uplink:
 *
 *   network 1 (10.1.0.0/24, fd00:1::/64)   A .11 and A2 .12     behind masquerading
 *   network 2 (10.2.0.0/24, fd00:2::/64)   B .13 and B2 .14     behind masquerading
 *   network 3 (10.3.0.0/24, fd00:3::/64)   C .15                not
 *   uplink                                 203.0.113.1, 2001:db8:ff::1; all else is behind 203.0.113.254 and 2001:db8:ff::fe
 *   host
 *
 * Networks do not reach each other unless a test says so. What happens to a packet is told in one line (`say`): what left, by which port,
 * and the reason of a drop.
 */

import { COUNTER_BLOCK, COUNTER_LOCAL, COUNTER_RX_DROPS } from '../../../core/counters.js';
import { DROP_REASONS } from '../../../core/drop.js';
import { DEFAULT_TIMEOUTS, flowAddressBytes, flowTableBytes } from '../../../core/nat/flow-table.js';
import type { FlowMemory, FlowSettings } from '../../../core/nat/flows.js';
import {
  RULE_ACTION,
  RULE_FIRST_PORT,
  RULE_FROM,
  RULE_FROM_FAMILY,
  RULE_FROM_IFACE,
  RULE_LAST_PORT,
  RULE_NUMBER,
  RULE_PROTOCOL,
  RULE_RECORD,
  RULE_TO,
  RULE_TO_FAMILY,
  RULE_TO_IFACE,
} from '../../../core/nat/policy.js';
import { PUBLISHED_RECORD } from '../../../core/nat/published.js';
import { FILTERING_ADDRESS_DEPENDENT, MAPPING_ENDPOINT_INDEPENDENT } from '../../../core/nat/settings.js';
import { MAPPED } from '../../../core/router/address.js';
import type { TranslationOptions } from '../../../core/router/interface.js';
import type { SentFrame } from '../../support/harness.js';
import {
  A,
  A2,
  B,
  B2,
  C,
  gatewayMac,
  Lab,
  type LabOptions,
  OUTSIDE,
  SPARE_PORT,
  type Station,
  THE_HOST,
  UPLINK,
  VRF,
  via,
  word4,
  words6,
} from '../router/lab.js';
import { describe, endOf, framed, ipOf, read, type Seen } from './wire.js';

export { A, A2, B, B2, C, OUTSIDE, type Station, THE_HOST, UPLINK, VRF } from '../router/lab.js';

/** The address that masqueraded packets leave from, and what is behind the uplink's next hop. */
export const EXTERNAL = '203.0.113.1';
export const EXTERNAL6 = '2001:db8:ff::1';
export const NEXT_HOP = '203.0.113.254';
export const NEXT_HOP6 = '2001:db8:ff::fe';
export const SERVER = '198.51.100.1';
export const SERVER2 = '198.51.100.2';
export const SERVER6 = '2001:db8:1::1';
export const SERVER62 = '2001:db8:1::2';

/** Counters of the lab's ports. */
const TOLD = (SPARE_PORT + 1) * COUNTER_BLOCK;
const NONE = new Int32Array(0);
/** IPv4 to the uplink's address. */
export const MASQUERADE: TranslationOptions = { sources4: NONE, sources6: null, prefixes: NONE };
/** Both families. */
export const MASQUERADE_BOTH: TranslationOptions = { sources4: NONE, sources6: NONE, prefixes: NONE };

/** IPv4 addresses, of which each endpoint has one. */
export function pool(...addresses: string[]): TranslationOptions {
  return { sources4: Int32Array.from(addresses, word4), sources6: null, prefixes: NONE };
}

/** IPv6 prefixes, "fd00:1::/64" to "2001:db8:a::/64". */
export function prefixes(inside: string, outside: string): TranslationOptions {
  const words = [inside, outside].flatMap((text) => [...words6(text.split('/')[0]), Number(text.split('/')[1])]);
  return { sources4: NONE, sources6: null, prefixes: Int32Array.from(words) };
}

export function memoryFor(capacity: number): FlowMemory {
  return {
    words: new Int32Array(flowTableBytes(capacity) / 4),
    addresses6: new Int32Array(flowAddressBytes(capacity) / 4),
    capacity,
  };
}

export interface NatOptions extends LabOptions {
  readonly nat?: Partial<FlowSettings>;
  /** By state (flow.ts). */
  readonly timeouts?: Record<number, number>;
  /** By network: null for none. */
  readonly translation?: Record<number, TranslationOptions | null>;
  /** Flows there may be. */
  readonly capacity?: number;
}

export interface Publication {
  readonly protocol: number;
  /** "203.0.113.1:8080"; "0.0.0.0:8080" and "[::]:8080" for any own address. */
  readonly at: string;
  /** Last port of a range. */
  readonly last?: number;
  readonly to: string;
  readonly station: Station;
}

export interface RuleSpec {
  readonly action: number;
  readonly fromIface?: number;
  readonly toIface?: number;
  /** "10.1.0.0/24". */
  readonly from?: string;
  readonly to?: string;
  readonly protocol?: number;
  readonly port?: number;
  /** Of several records of one rule. */
  readonly number?: number;
}

export class NatLab extends Lab {
  readonly memory: FlowMemory;
  /** Drops and deliveries by port, as they were told last. */
  private told: Float64Array;

  constructor(options: NatOptions = {}) {
    const memory = options.flows ?? memoryFor(options.capacity ?? 512);
    super({
      ...options,
      flows: memory,
      vrf: { tracking: true, interconnect: false, ...options.vrf },
      interfaces: interfacesOf(options),
    });
    this.memory = memory;
    this.configure(options);
    this.routeVia('0.0.0.0/0', via(UPLINK, NEXT_HOP));
    this.routeVia('::/0', via(UPLINK, NEXT_HOP6));
    this.knowAll();
    this.dataplane.events.clear();
    this.told = this.counters.slice(0, TOLD);
  }

  configure({ nat = {}, timeouts = {} }: Pick<NatOptions, 'nat' | 'timeouts'>): void {
    const seconds = DEFAULT_TIMEOUTS.slice();
    for (const [state, value] of Object.entries(timeouts)) seconds[Number(state)] = value;
    this.flows.configure({
      mapping: MAPPING_ENDPOINT_INDEPENDENT,
      filtering: FILTERING_ADDRESS_DEPENDENT,
      firstPort: 1024,
      lastPort: 65_535,
      portBlock: 0,
      flowsPerEndpoint: this.memory.capacity,
      timeouts: seconds,
      algs: 0,
      ...nat,
    });
    this.flows.adopt();
  }

  get flows() {
    return this.router.flows;
  }

  publish(...publications: Publication[]): void {
    const records = new Int32Array(publications.length * PUBLISHED_RECORD);
    publications.forEach(({ protocol, at, last, to, station }, i) => {
      const published = endOf(at);
      const target = endOf(to);
      records.set(
        [
          VRF,
          protocol,
          ...wordsOf(published.address),
          published.port,
          last ?? published.port,
          ...wordsOf(target.address),
          target.port,
          station.port,
        ],
        i * PUBLISHED_RECORD,
      );
    });
    this.flows.published.set(records);
    this.flows.mappings.reserve(records);
    this.flows.changed();
  }

  /** A port goes, as the worker lets it go. */
  detach(station: Station): void {
    this.topology.removePort(station.port);
    this.dataplane.counters.retire(station.port);
  }

  /** In the order in which they decide. */
  rules(...rules: RuleSpec[]): void {
    const records = new Int32Array(rules.length * RULE_RECORD);
    rules.forEach((rule, i) => {
      writeRule(records.subarray(i * RULE_RECORD, (i + 1) * RULE_RECORD), rule, rule.number ?? i);
    });
    this.flows.policy.set(records);
    this.flows.changed();
  }

  /** What leaves because of an IP packet. */
  give(station: Station, bytes: Uint8Array): SentFrame[] {
    return this.receive(station.port, framed(bytes, gatewayMac(station.network), station.mac));
  }

  /** The one packet that leaves, every checksum right. @throws where there is none, or more */
  pass(station: Station, bytes: Uint8Array): Seen & { readonly port: number } {
    const sent = this.give(station, bytes);
    if (sent.length !== 1) throw new Error(`${sent.length} packets left, not one: ${this.outcome(sent)}`);
    this.told = this.counters.slice(0, TOLD);
    return { ...read(ipOf(sent[0].frame)), port: sent[0].port };
  }

  /** "6 udp 203.0.113.1:5000 > 198.51.100.1:53", "dropped filtered", "held", "local"; several with " | " between. */
  say(station: Station, bytes: Uint8Array): string {
    return this.outcome(this.give(station, bytes));
  }

  /** The same of what leaves while the clock goes on to a second. */
  sayUntil(second: number): string {
    return this.outcome(this.sentBy(() => this.passTo(second)));
  }

  /** What leaves because of work, told likewise. */
  protected saying(work: () => void): string {
    return this.outcome(this.sentBy(work));
  }

  private outcome(sent: readonly SentFrame[]): string {
    const lines = sent.filter(isIp).map(({ port, frame }) => `${port} ${describe(read(ipOf(frame)))}`);
    const { counters } = this;
    for (let port = 0; port <= SPARE_PORT; port++) {
      const at = port * COUNTER_BLOCK;
      if (counters[at + COUNTER_LOCAL] > this.told[at + COUNTER_LOCAL]) lines.push('local');
      DROP_REASONS.forEach(({ name }, reason) => {
        const index = at + COUNTER_RX_DROPS + reason;
        if (counters[index] > this.told[index]) lines.push(`dropped ${name}`);
      });
    }
    this.told = counters.slice(0, TOLD);
    return lines.length === 0 ? 'held' : lines.join(' | ');
  }

  /** Seconds from now, in which nobody's MAC is forgotten. */
  wait(seconds: number): void {
    this.passTo(this.dataplane.now + seconds);
    this.knowAll();
  }

  knowAll(): void {
    this.know(A, A2, B, B2, C, THE_HOST);
    for (const address of [NEXT_HOP, NEXT_HOP6]) this.resolve(OUTSIDE, address);
    this.told = this.counters.slice(0, TOLD);
  }
}

function interfacesOf(options: NatOptions): NonNullable<LabOptions['interfaces']> {
  const translation: Record<number, TranslationOptions | null> = {
    1: MASQUERADE,
    2: MASQUERADE,
    ...options.translation,
  };
  const interfaces: Record<number, NonNullable<LabOptions['interfaces']>[number]> = {};
  for (const network of [1, 2, 3]) interfaces[network] = { translation: translation[network] ?? null };
  interfaces[UPLINK] = {
    addresses4: Int32Array.of(word4(EXTERNAL), 0xffffff00 | 0),
    addresses6: Int32Array.of(...words6(EXTERNAL6), 64),
  };
  for (const [network, one] of Object.entries(options.interfaces ?? {})) {
    interfaces[Number(network)] = { ...interfaces[Number(network)], ...one };
  }
  return interfaces;
}

/** ARP and neighbor discovery are the lab's own affair. */
function isIp({ frame }: SentFrame): boolean {
  if (frame[12] === 0x08) return frame[13] === 0;
  return frame[20] !== 58 || frame[54] < 133 || frame[54] > 137;
}

export function wordsOf(address: string): number[] {
  return address.includes('.') ? [0, 0, MAPPED, word4(address)] : words6(address);
}

function writeRule(record: Int32Array, rule: RuleSpec, number: number): void {
  record[RULE_NUMBER] = number;
  record[RULE_ACTION] = rule.action;
  record[RULE_FROM_IFACE] = rule.fromIface ?? 0;
  record[RULE_TO_IFACE] = rule.toIface ?? 0;
  writePrefix(record, RULE_FROM_FAMILY, RULE_FROM, rule.from);
  writePrefix(record, RULE_TO_FAMILY, RULE_TO, rule.to);
  record[RULE_PROTOCOL] = rule.protocol ?? 0;
  record[RULE_FIRST_PORT] = rule.port ?? 0;
  record[RULE_LAST_PORT] = rule.port ?? 65_535;
}

function writePrefix(record: Int32Array, family: number, at: number, text: string | undefined): void {
  if (text === undefined) return;
  const [address, length] = text.split('/');
  record[family] = address.includes('.') ? 4 : 6;
  record.set(address.includes('.') ? [0, 0, 0, word4(address)] : words6(address), at);
  record[at + 4] = Number(length);
}
