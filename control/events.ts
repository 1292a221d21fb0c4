/** What happened in the dataplane, for people: named, logged, and the last of it kept. */

import { Readable } from 'node:stream';
import type { Logger } from 'pino';
import type { DataplaneEvent } from './types.js';

/** What becomes of a backend, besides what the dataplane tells. */
export type BackendEventKind =
  | 'backend-up'
  | 'backend-down'
  | 'backend-starting'
  | 'backend-draining'
  | 'backend-drained'
  | 'backend-gone';

/** Events that are kept. */
export const EVENT_RING = 1000;
/** In this time, in milliseconds of the events' own clock, a MAC that moves is logged once, and an address that nobody knows, */
const LOG_INTERVAL_MS = 1000;
/** and no more of these in all: whoever may speak from thousands of them, or to thousands, must not fill the log. */
const MOVES_LOGGED = 20;
/** Kinds of events that anybody may make by the thousand. */
const COMMON: readonly EventView['kind'][] = ['mac-moved', 'vtep-heard', 'l2-miss', 'l3-miss'];

export interface EventView {
  /** Counts up from 1; a gap is events that were forgotten before they were read. */
  readonly id: number;
  /** ISO 8601. */
  readonly time: string;
  readonly kind: DataplaneEvent['kind'] | BackendEventKind;
  /** Names; null where there is none. */
  readonly network: string | null;
  readonly port: string | null;
  /** The port before: mac-moved, mac-flapping. */
  readonly fromPort: string | null;
  /** Null in a network without VLANs. */
  readonly vlan: number | null;
  readonly mac: string | null;
  /** Seconds of quarantine; moves of a flapping MAC; neighbors or connections that there are or may be; events that were lost. */
  readonly count: number;
  /** address-conflict: the address of ours that another uses. Of ports: the external address that they are of. Null else. */
  readonly address: string | null;
  /** First and last port of a block; null else. */
  readonly ports: string | null;
  /** Of backends: SERVICE/ENDPOINT:PORT; service-flood: the service. Null else. */
  readonly service: string | null;
  /** One sentence for a person. */
  readonly text: string;
}

/** Names by the dataplane's numbers; null where the number means nothing (any more). */
export interface Names {
  port(number: number): string | null;
  network(number: number): string | null;
  service(number: number): string | null;
  /** SERVICE/ENDPOINT:PORT. */
  backend(number: number): string | null;
}

type Unsaid = Omit<EventView, 'text'>;

function place({ network, vlan }: Unsaid): string {
  return `${network === null ? '' : ` in network ${network}`}${vlan === null ? '' : `, VLAN ${vlan}`}`;
}

/** Address of the VTEP that the event's port stands for, by the port's name: vxlan:NETWORK:ADDRESS. */
function vtepOf({ port }: Unsaid): string {
  return port?.replace(/^vxlan:[^:]*:/, '') ?? '-';
}

function seconds(count: number): string {
  return `${count} second${count === 1 ? '' : 's'}`;
}

const SENTENCES: Readonly<Record<DataplaneEvent['kind'], (event: Unsaid) => string>> = {
  'mac-moved': (event) => `MAC ${event.mac} moved from port ${event.fromPort} to port ${event.port}${place(event)}`,
  'mac-flapping': (event) =>
    `MAC ${event.mac} flaps between ports ${event.fromPort} and ${event.port}${place(event)}: ${event.count} moves in 10 seconds`,
  'port-quarantined': (event) => {
    const why = event.mac === null ? '' : `: MAC ${event.mac} came back on it`;
    return `port ${event.port} is quarantined for ${seconds(event.count)}${place(event)}${why}; look for a loop behind it`;
  },
  'port-released': (event) => `port ${event.port} forwards again${place(event)}`,
  'fdb-full': (event) => `no room to learn MAC ${event.mac ?? '-'} of port ${event.port ?? '-'}${place(event)}`,
  'address-conflict': (event) =>
    `MAC ${event.mac ?? '-'} on port ${event.port ?? '-'} uses ${event.address}, an address of the router${place(event)}; give it another`,
  'neighbors-full': (event) =>
    `all ${event.count} neighbors are taken, and port ${event.port ?? '-'} needs another: the least used are put out; look for a scan behind it`,
  'connections-alarm': (event) =>
    `the table of connections is ${event.count} % full: tapline show nat says whose they are; raise nat.max_flows`,
  'connections-full': (event) =>
    `the table of connections is full at ${event.count}: half-open ones make room for others; raise nat.max_flows`,
  'connection-limit': (event) =>
    `endpoint ${event.port ?? '-'} has ${event.count} connections${place(event)}, as many as nat.flows_per_endpoint allows: more are refused`,
  'ports-exhausted': (event) =>
    `no port is left at ${event.address} for endpoint ${event.port ?? '-'}: raise nat.ports, or give masquerade more addresses`,
  'port-block-taken': (event) => `endpoint ${event.port ?? '-'} has ports ${event.ports} of ${event.address}`,
  'port-block-freed': (event) => `endpoint ${event.port ?? '-'} gave back ports ${event.ports} of ${event.address}`,
  'backend-suspect': (event) =>
    `backend ${event.service ?? event.count} refuses new connections, or does not answer them: others get them`,
  'backend-trusted': (event) => `backend ${event.service ?? event.count} gets new connections again`,
  'service-flood': (event) =>
    `service ${event.service ?? event.count} gets more new connections than flood_rate: they are spread by hash, and not noted`,
  'service-flood-over': (event) => `service ${event.service ?? event.count} notes new connections again`,
  'vtep-heard': (event) => `VTEP ${event.address} is heard${place(event)}, which is open`,
  'vtep-unreachable': (event) =>
    `no way to VTEP ${vtepOf(event)}${place(event)}: its next hop does not answer, or there is no route`,
  'vtep-reachable': (event) => `VTEP ${vtepOf(event)}${place(event)} is reached again`,
  'l2-miss': (event) => `nobody knows behind which VTEP MAC ${event.mac ?? '-'} is${place(event)}`,
  'l3-miss': (event) => `nobody knows the MAC of ${event.address}${place(event)}`,
  'events-lost': (event) => `${event.count} events were lost: more happened than could be told`,
};

/** What happens all the time where all is well; everything else is worth a warning. */
const USUAL: readonly EventView['kind'][] = [
  'vtep-heard',
  'vtep-reachable',
  'l2-miss',
  'l3-miss',
  'mac-moved',
  'port-block-taken',
  'port-block-freed',
  'backend-up',
  'backend-starting',
  'backend-draining',
  'backend-drained',
  'backend-gone',
];

function level(kind: EventView['kind']): 'info' | 'warn' {
  return USUAL.includes(kind) ? 'info' : 'warn';
}

/** An event without what it is of. */
function bareEvent(id: number, time: string): Omit<Unsaid, 'kind'> {
  return {
    id,
    time,
    network: null,
    port: null,
    fromPort: null,
    vlan: null,
    mac: null,
    count: 0,
    address: null,
    ports: null,
    service: null,
  };
}

function lostEvents(id: number, time: string, count: number): EventView {
  const unsaid: Unsaid = { ...bareEvent(id, time), kind: 'events-lost', count };
  return { ...unsaid, text: SENTENCES['events-lost'](unsaid) };
}

export class EventLog {
  readonly #logger: Logger;
  readonly #names: Names;
  readonly #kept: EventView[] = [];
  readonly #followers = new Set<Follower>();
  /** What was logged since `#logInterval` began: MACs with their places, and the kinds of events that have none. */
  readonly #logged = new Set<string>();
  #logInterval = 0;
  /** Events that were one too many for the log. */
  #unlogged = 0;
  #nextId = 1;

  constructor(logger: Logger, names: Names) {
    this.#logger = logger;
    this.#names = names;
  }

  add(event: DataplaneEvent): void {
    this.#keep(this.#view(event), this.#isWorthALine(event));
  }

  /** Something that became of a backend. @param backend SERVICE/ENDPOINT:PORT @param network name of the service's */
  addOfBackend(kind: BackendEventKind, backend: string, network: string, text: string): void {
    const bare = bareEvent(this.#nextId++, new Date().toISOString());
    this.#keep({ ...bare, kind, network, service: backend, text }, true);
  }

  #keep(view: EventView, isLogged: boolean): void {
    this.#kept.push(view);
    if (this.#kept.length > EVENT_RING) this.#kept.shift();
    if (isLogged) this.#logger[level(view.kind)](view.text);
    for (const follower of this.#followers) follower.wake();
  }

  #view(event: DataplaneEvent): EventView {
    const port = (number: number): string | null => (number === 0 ? null : (this.#names.port(number) ?? `${number}`));
    const unsaid: Unsaid = {
      id: this.#nextId++,
      time: new Date(event.time).toISOString(),
      kind: event.kind,
      network: this.#names.network(event.network),
      port: port(event.port),
      fromPort: port(event.fromPort),
      vlan: event.vlan === 0 ? null : event.vlan,
      mac: event.mac === '' ? null : event.mac,
      count: event.count,
      address: event.address === '' ? null : event.address,
      ports: event.ports ?? null,
      service: this.#serviceOf(event),
    };
    return { ...unsaid, text: SENTENCES[event.kind](unsaid) };
  }

  #serviceOf({ kind, count }: DataplaneEvent): string | null {
    if (kind === 'backend-suspect' || kind === 'backend-trusted') return this.#names.backend(count);
    return kind === 'service-flood' || kind === 'service-flood-over' ? this.#names.service(count) : null;
  }

  /** Some come by the thousand: the log has the first of each second. */
  #isWorthALine({ kind, mac, address, network, vlan, time }: DataplaneEvent): boolean {
    const isCommon = COMMON.includes(kind);
    if (!isCommon && kind !== 'events-lost') return true;
    // The wall clock may have been set back.
    if (Math.abs(time - this.#logInterval) >= LOG_INTERVAL_MS) this.#beginLogInterval(time);
    const key = isCommon ? `${kind} ${network} ${vlan} ${mac} ${address}` : kind;
    if (this.#logged.has(key)) return false;
    if (isCommon && this.#logged.size >= MOVES_LOGGED) {
      this.#unlogged++;
      return false;
    }
    this.#logged.add(key);
    return true;
  }

  #beginLogInterval(time: number): void {
    if (this.#unlogged > 0)
      this.#logger.warn(`${this.#unlogged} more moves of MACs and unknown addresses were not logged`);
    this.#unlogged = 0;
    this.#logged.clear();
    this.#logInterval = time;
  }

  /** Oldest first. */
  list(): EventView[] {
    return [...this.#kept];
  }

  /** The newest event that satisfies `wanted`. */
  last(wanted: (event: EventView) => boolean): EventView | undefined {
    return this.#kept.findLast(wanted);
  }

  /** The first event from `id` on; one that tells of the gap where that is forgotten; or undefined for now. */
  next(id: number): EventView | undefined {
    const [first] = this.#kept;
    if (first === undefined) return undefined;
    if (first.id > id) return lostEvents(first.id - 1, first.time, first.id - id);
    return this.#kept[id - first.id];
  }

  /** All that are kept and all that follow, a line of JSON each. The stream ends with `close`. */
  follow(): Readable {
    const follower = new Follower(this, this.#kept[0]?.id ?? this.#nextId);
    this.#followers.add(follower);
    follower.once('close', () => this.#followers.delete(follower));
    return follower;
  }

  /** Ends what follows. */
  close(): void {
    for (const follower of this.#followers) follower.end();
  }
}

/** Reads the ring at its reader's pace, so that a slow one costs no memory and is told what it missed. */
class Follower extends Readable {
  readonly #log: EventLog;
  #next: number;
  #wanting = false;
  #ended = false;

  constructor(log: EventLog, next: number) {
    super();
    this.#log = log;
    this.#next = next;
  }

  override _read(): void {
    this.#wanting = true;
    this.wake();
  }

  wake(): void {
    while (this.#wanting && !this.#ended) {
      const event = this.#log.next(this.#next);
      if (event === undefined) return;
      this.#next = event.id + 1;
      this.#wanting = this.push(`${JSON.stringify(event)}\n`);
    }
  }

  end(): void {
    if (this.#ended || this.destroyed) return;
    this.#ended = true;
    this.push(null);
  }
}
