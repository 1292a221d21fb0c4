/**
 * Services: the whole path of packets between clients on the wire and backends, in connections that are there and in new ones; the choice of
 * a backend alone; and the making of a Maglev table.
 */

import { maglevTable } from '../../core/lb/maglev.js';
import {
  BACKEND_ADDRESS4,
  BACKEND_FLAGS,
  BACKEND_NUMBER,
  BACKEND_PORT,
  BACKEND_RECORD,
  BACKEND_UP,
  BACKEND_WEIGHT,
  SCHEDULER_LC,
  SCHEDULER_MAGLEV,
  SCHEDULER_RR,
  SCHEDULER_SH,
  SCHEDULER_WLC,
  SCHEDULER_WRR,
  type ServiceOptions,
} from '../../core/lb/service.js';
import { FLOW_REPLY_PORTS, FLOW_REPLY_SOURCE, FLOW_WORDS, kindOf } from '../../core/nat/flow.js';
import {
  PUBLISHED_ADDRESS,
  PUBLISHED_FIRST,
  PUBLISHED_LAST,
  PUBLISHED_PROTOCOL,
  PUBLISHED_RECORD,
  PUBLISHED_SERVICE,
  PUBLISHED_ZONE,
} from '../../core/nat/published.js';
import { MAPPED } from '../../core/router/address.js';
import type { Router } from '../../core/router/router.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../core/wire/ipv4.js';
import { type Bench, MAC_HIGH } from './frames.js';
import { Random } from './random.js';
import { address4, FAR, GATEWAY, HOPS, NEAR, resolve, VRF } from './routed.js';
import type { Case } from './suite.js';
import {
  BATCH,
  establishedCase,
  HOP_MAC,
  makeTracked,
  openingCase,
  portOf,
  STRANGERS,
  strangerOf,
  Traffic,
  WIRE_PORT,
} from './traffic.js';

const TABLE_SIZE = 65_537;
/** The port behind which all backends are. */
const BACKENDS_PORT = WIRE_PORT + HOPS;
/** Backends have the last octets of their addresses and MACs from this on; those of all services are the same hosts. */
const FIRST_HOST = 100;
const MOST_BACKENDS = 100;
/** Services listen at one address, at the port from this on that their number, counted from 0, says; so do their backends. */
const FIRST_LISTENING = 1024;
const FIRST_BACKEND_PORT = 8000;
const ADDRESS = address4(FAR, GATEWAY);

/** What is the same of all services here; as the daemon has it by default. */
const DEFAULTS = {
  direct: false,
  affinity: 0,
  floodRate: 0,
  failures: 3,
  suspectTime: 30,
  seed: 0x5eed,
  table: new Uint16Array(0) as Uint16Array,
};

/** @param service from 0. Weights are 1, 2 and 3 in turn */
function makeBackends(service: number, count: number): Int32Array {
  const words = new Int32Array(count * BACKEND_RECORD);
  for (let backend = 0; backend < count; backend++) {
    const at = backend * BACKEND_RECORD;
    words[at + BACKEND_NUMBER] = 1 + service * count + backend;
    words[at + BACKEND_PORT] = FIRST_BACKEND_PORT + service;
    words[at + BACKEND_WEIGHT] = 1 + (backend % 3);
    words[at + BACKEND_FLAGS] = BACKEND_UP;
    words.set([0, 0, MAPPED, address4(NEAR, FIRST_HOST + backend)], at + BACKEND_ADDRESS4);
  }
  return words;
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, backend) => `web-${backend}:80`);
}

/** Services of one kind. Each has a table of its own, though all say the same: what counts is that memory is. */
function alike(services: number, backends: number, scheduler: number): ServiceOptions[] {
  const isHashing = scheduler === SCHEDULER_SH || scheduler === SCHEDULER_MAGLEV;
  const weights = Array.from({ length: backends }, (_, backend) => 1 + (backend % 3));
  const table = isHashing ? maglevTable(TABLE_SIZE, names(backends), weights) : DEFAULTS.table;
  return Array.from({ length: services }, (_, service) => ({
    ...DEFAULTS,
    scheduler,
    backends: makeBackends(service, backends),
    table: table.slice(),
  }));
}

/** Services get numbers from 1 on, in this order. */
function install({ flows }: Router, protocol: number, services: readonly ServiceOptions[]): void {
  const records = new Int32Array(services.length * PUBLISHED_RECORD);
  services.forEach((options, service) => {
    const at = service * PUBLISHED_RECORD;
    records[at + PUBLISHED_ZONE] = VRF;
    records[at + PUBLISHED_PROTOCOL] = protocol;
    records.set([0, 0, MAPPED, ADDRESS], at + PUBLISHED_ADDRESS);
    records[at + PUBLISHED_FIRST] = records[at + PUBLISHED_LAST] = FIRST_LISTENING + service;
    records[at + PUBLISHED_SERVICE] = service + 1;
    // As it comes from the main thread. Objects that are put together by spreading are slow ones in V8: 200 ns a choice among a thousand.
    flows.services.set(service + 1, structuredClone(options));
  });
  flows.published.set(records);
  flows.changed();
}

function makeBalanced(): Bench {
  const bench = makeTracked();
  const { topology, router } = bench.dataplane;
  const hosts = Array.from({ length: MOST_BACKENDS }, (_, backend) => FIRST_HOST + backend);
  topology.addPort(BACKENDS_PORT, NEAR, { macs: hosts.map((host) => [MAC_HIGH, host]) });
  for (const host of hosts) resolve(router, NEAR, [0, 0, MAPPED, address4(NEAR, host)], host, BACKENDS_PORT);
  bench.sink.count = 0;
  return bench;
}

/** Connections of clients on the wire to services, spread over these by their numbers. */
export class Balanced extends Traffic {
  private readonly services: number;
  private readonly kind: number;

  constructor(protocol: number, services: readonly ServiceOptions[]) {
    const bench = makeBalanced();
    super(bench, protocol, WIRE_PORT, BACKENDS_PORT);
    this.services = services.length;
    this.kind = kindOf(VRF, protocol, false);
    install(bench.dataplane.router, protocol, services);
  }

  /** An answer comes from whichever backend the connection has got. */
  protected override write(slot: number, flow: number, isReply: boolean): void {
    const { table } = this.bench.dataplane.router.flows;
    const client = strangerOf(flow);
    const service = (Math.imul(flow, 0x9e3779b1) >>> 8) % this.services;
    const ports = (portOf(flow) << 16) | (FIRST_LISTENING + service);
    if (!isReply) {
      this.writeFrame(slot, GATEWAY + FAR, HOP_MAC, client, ADDRESS, ports);
      return;
    }
    const found = table.find4(this.kind, client, ADDRESS, ports);
    if (found < 0) throw new Error(`services: connection ${flow} is not there`);
    const at = (found >> 1) * FLOW_WORDS;
    const backend = table.words[at + FLOW_REPLY_SOURCE];
    this.writeFrame(slot, GATEWAY + NEAR, backend & 0xff, backend, client, table.words[at + FLOW_REPLY_PORTS]);
  }
}

/** For the heap: one service of each scheduler, one with affinity, and one that is flooded once `flood` says so. */
export class EveryService extends Balanced {
  private readonly flooded: number;
  private readonly options: ServiceOptions;

  constructor() {
    const kinds = [...SCHEDULERS.map(([, scheduler]) => scheduler), SCHEDULER_RR, SCHEDULER_RR];
    const services = kinds.map((scheduler, service): ServiceOptions => {
      const isKeeping = service === SCHEDULERS.length;
      return {
        ...alike(1, 10, scheduler)[0],
        backends: makeBackends(service, 10),
        affinity: isKeeping ? 60 : 0,
      };
    });
    super(PROTOCOL_UDP, services);
    this.flooded = services.length;
    this.options = services[services.length - 1];
  }

  /** From now on, more than one new connection a second is too many for the last one. */
  flood(): void {
    this.bench.dataplane.router.flows.services.set(this.flooded, { ...this.options, floodRate: 1 });
  }

  /** Packets that went by without a connection of their own. */
  get passed(): number {
    return this.bench.dataplane.router.flows.services.get(this.flooded)?.flood.passed ?? 0;
  }
}

/** Connections whose backends are chosen in turn; a power of two. */
const QUERIES = 1 << 16;

/** The listener is looked up, and a backend chosen. */
class Selection {
  private readonly router: Router;
  private missed = 0;
  private at = 0;
  private readonly clients = new Int32Array(QUERIES);
  private readonly ports = new Int32Array(QUERIES);
  private readonly client = Int32Array.of(0, 0, MAPPED, 0);

  constructor(services: readonly ServiceOptions[]) {
    const { router } = makeBalanced().dataplane;
    const random = new Random(13);
    this.router = router;
    install(router, PROTOCOL_TCP, services);
    for (let i = 0; i < QUERIES; i++) {
      this.clients[i] = STRANGERS | random.next(1 << 17);
      this.ports[i] = (portOf(random.next(1 << 10)) << 16) | (FIRST_LISTENING + random.next(services.length));
    }
  }

  run(): void {
    const { at } = this;
    for (let i = at; i < at + BATCH; i++) if (this.choose(i) < 0) this.missed++;
    this.at = (at + BATCH) & (QUERIES - 1);
  }

  /** Only looks services up. */
  look(): void {
    const { at, ports } = this;
    const { published } = this.router.flows;
    for (let i = at; i < at + BATCH; i++) {
      const record = published.find4(VRF, PROTOCOL_TCP, ADDRESS, ports[i] & 0xffff);
      if (record < 0 || published.service(record) === 0) this.missed++;
    }
    this.at = (at + BATCH) & (QUERIES - 1);
  }

  /** @returns number of a backend; -1: none */
  private choose(query: number): number {
    const { clients, ports, client } = this;
    const { published, services } = this.router.flows;
    client[3] = clients[query];
    const record = published.find4(VRF, PROTOCOL_TCP, ADDRESS, ports[query] & 0xffff);
    const service = services.get(published.service(record));
    if (service === null) return -1;
    const at = services.choose(service, client, ports[query], false);
    if (at < 0) return -1;
    services.take(service, client, false, at);
    return service.numberOf(at);
  }

  /** Every choice found a backend, and among a round more every service is; of a service alone, every backend. @param backends of each */
  isSound(services: number, backends: number): boolean {
    const found = new Set<number>();
    const foundServices = new Set<number>();
    for (let query = 0; query < QUERIES; query++) {
      const number = this.choose(query);
      found.add(number);
      foundServices.add(Math.floor((number - 1) / backends));
    }
    return this.missed === 0 && foundServices.size === services && (services > 1 || found.size === backends);
  }
}

type Target = Pick<Case, 'bar' | 'aim'>;

function selectionCase(name: string, target: Target, services: number, backends: number, scheduler: number): Case {
  let selection: Selection;
  return {
    name,
    unit: 'choices',
    perCall: BATCH,
    ...target,
    prepare: () => {
      selection = new Selection(alike(services, backends, scheduler));
    },
    run: () => selection.run(),
    check: () => selection.isSound(services, backends),
  };
}

function lookupCase(name: string, services: number): Case {
  const selected = selectionCase(name, {}, services, BACKENDS, SCHEDULER_RR);
  let selection: Selection;
  return {
    ...selected,
    unit: 'lookups',
    prepare: () => {
      selection = new Selection(alike(services, BACKENDS, SCHEDULER_RR));
    },
    run: () => selection.look(),
    check: () => selection.isSound(services, BACKENDS),
  };
}

/** The control plane makes a table when a backend comes; the process has made none before, or some. */
function tableCase(backends: number): Case {
  const keys = names(backends);
  const weights = keys.map(() => 1);
  let first = 0;
  let table = DEFAULTS.table;
  return {
    name: `Maglev table of 65,537, ${backends.toLocaleString('en')} backends`,
    unit: 'entries',
    perCall: TABLE_SIZE,
    // 20 ms a table.
    bar: TABLE_SIZE / 0.02,
    run: () => {
      const before = performance.now();
      table = maglevTable(TABLE_SIZE, keys, weights);
      if (first === 0) first = performance.now() - before;
    },
    check: () => table.length === TABLE_SIZE && new Set(table).size === backends && first <= 20,
    note: () => `the first one of the process took ${first.toFixed(1)} ms`,
  };
}

const SCHEDULERS: readonly (readonly [string, number])[] = [
  ['rr', SCHEDULER_RR],
  ['wrr', SCHEDULER_WRR],
  ['lc', SCHEDULER_LC],
  ['wlc', SCHEDULER_WLC],
  ['sh', SCHEDULER_SH],
  ['maglev', SCHEDULER_MAGLEV],
];

/** One service, and as many as there may be on a large machine. */
const FEW_BACKENDS = 2;
const SERVICES = 1000;
const BACKENDS = 100;

const few = (protocol: number, scheduler: number) => (): Traffic =>
  new Balanced(protocol, alike(1, FEW_BACKENDS, scheduler));
const many = (scheduler: number) => (): Traffic => new Balanced(PROTOCOL_TCP, alike(SERVICES, BACKENDS, scheduler));

function packetCases(): Case[] {
  const target = { bar: 10e6 };
  const tcp = few(PROTOCOL_TCP, SCHEDULER_RR);
  const udp = few(PROTOCOL_UDP, SCHEDULER_RR);
  return [
    establishedCase('service, TCP in, 1,024 connections', target, tcp, 1024, false),
    establishedCase('service, TCP out, 1,024 connections', target, tcp, 1024, true),
    establishedCase('service, UDP in, 1,024 connections', target, udp, 1024, false),
    establishedCase('service, UDP out, 1,024 connections', target, udp, 1024, true),
    establishedCase('1,000 services of 100, TCP in, 1,024 connections', target, many(SCHEDULER_RR), 1024, false),
  ];
}

/** A pair for each: one service, and many. */
function openingCases(): Case[] {
  const target = { bar: 1e6 };
  return [
    openingCase('service, rr, new TCP connections', target, few(PROTOCOL_TCP, SCHEDULER_RR)),
    openingCase('1,000 services of 100, rr, new TCP connections', {}, many(SCHEDULER_RR)),
    openingCase('service, maglev, new TCP connections', target, few(PROTOCOL_TCP, SCHEDULER_MAGLEV)),
    openingCase('1,000 services of 100, maglev, new TCP connections', {}, many(SCHEDULER_MAGLEV)),
  ];
}

function selectionCases(): Case[] {
  const target = { bar: 3e6 };
  const choice = (what: string, name: string): string => `${what}, ${name}, choice of a backend`;
  return [
    ...SCHEDULERS.map(([name, scheduler]) =>
      selectionCase(choice('service of 2', name), target, 1, FEW_BACKENDS, scheduler),
    ),
    // All but these look at each backend of a service, or have nothing to look up.
    ...SCHEDULERS.map(([name, scheduler]) =>
      selectionCase(choice('service of 100', name), isQuick(scheduler) ? target : {}, 1, BACKENDS, scheduler),
    ),
    ...SCHEDULERS.filter(([, scheduler]) => isQuick(scheduler)).map(([name, scheduler]) =>
      selectionCase(
        choice('1,000 services of 100', name),
        scheduler === SCHEDULER_RR ? target : {},
        SERVICES,
        BACKENDS,
        scheduler,
      ),
    ),
  ];
}

/** Whether the cost of a choice does not grow with the number of backends. */
function isQuick(scheduler: number): boolean {
  return scheduler === SCHEDULER_RR || scheduler === SCHEDULER_SH || scheduler === SCHEDULER_MAGLEV;
}

export function lbCases(): Case[] {
  return [
    ...packetCases(),
    ...openingCases(),
    lookupCase('service, found by its listener', 1),
    lookupCase('1,000 services, found by their listeners', SERVICES),
    ...selectionCases(),
    tableCase(BACKENDS),
    tableCase(1000),
  ];
}

/** Cases in pairs, by their numbers: many services of many backends, all of them asked at random; and one of two. */
export interface Compared {
  readonly index: number;
  readonly base: number;
  /** How many times as long the former may take. */
  readonly bar: number | null;
}

export function comparedCases(): Compared[] {
  const names = lbCases().map(({ name }) => name);
  const pair = (many: string, one: string, bar: number | null): Compared => {
    const [index, base] = [names.indexOf(many), names.indexOf(one)];
    if (index < 0 || base < 0) throw new Error(`no benchmarks "${many}" and "${one}"`);
    return { index, base, bar };
  };
  const bar = 1.5;
  return [
    pair('1,000 services of 100, TCP in, 1,024 connections', 'service, TCP in, 1,024 connections', bar),
    pair('1,000 services of 100, rr, new TCP connections', 'service, rr, new TCP connections', bar),
    pair('1,000 services, found by their listeners', 'service, found by its listener', bar),
    // Nobody's bar, but what it comes to: 131 MB of tables are read at random, which is one wait for memory each time; and a choice alone
    // is so short that the processor's caches decide.
    pair('1,000 services of 100, maglev, new TCP connections', 'service, maglev, new TCP connections', null),
    pair('1,000 services of 100, rr, choice of a backend', 'service of 2, rr, choice of a backend', null),
    pair('1,000 services of 100, maglev, choice of a backend', 'service of 2, maglev, choice of a backend', null),
  ];
}
