/** What the dataplane wants an operator to hear of: a short list in flat memory that the worker hands on. */

export const EVENT_MAC_MOVED = 1;
export const EVENT_MAC_FLAPPING = 2;
export const EVENT_QUARANTINED = 3;
export const EVENT_RELEASED = 4;
export const EVENT_FDB_FULL = 5;
/** Somebody else uses an address of the router. */
export const EVENT_ADDRESS_CONFLICT = 6;
export const EVENT_NEIGHBORS_FULL = 7;
/** The connections have filled so many percent of their table (the number). */
export const EVENT_FLOWS_ALARM = 8;
/** The table is full: half-open connections make room for new ones. */
export const EVENT_FLOWS_FULL = 9;
/** An endpoint (the port) has as many connections as it may have (the number). */
export const EVENT_FLOW_LIMIT = 10;
/** No port is left at an external address (the address). */
export const EVENT_PORTS_EXHAUSTED = 11;
/** An endpoint (the port) got, or gave back, a block of ports from the number on, at an external address. */
export const EVENT_PORT_BLOCK = 12;
export const EVENT_PORT_BLOCK_FREED = 13;
/** A backend (the number) has refused or not answered several flows in a row: it gets none for a while, or as long as nobody says better. */
export const EVENT_BACKEND_SUSPECT = 14;
/** It has answered since, or its time is over. */
export const EVENT_BACKEND_TRUSTED = 15;
/** A service (the number) gets more new flows than are noted; and no longer. */
export const EVENT_SERVICE_FLOOD = 16;
export const EVENT_SERVICE_FLOOD_OVER = 17;
/** A VTEP (the address) that is not known was heard in an open network (the domain). */
export const EVENT_VTEP_HEARD = 18;
/** Nobody knows behind which VTEP a MAC is; or at which MAC an address. */
export const EVENT_L2_MISS = 19;
export const EVENT_L3_MISS = 20;
/** There is no way to a VTEP (the port), or nobody answers there; and again there is. */
export const EVENT_VTEP_UNREACHABLE = 21;
export const EVENT_VTEP_REACHABLE = 22;

/** Int32 an event: kind, domain, port, port before, MAC's first two octets, last four, number, IP address (see `addWithAddress`). */
export const EVENT_RECORD = 11;
/** Where in it the address stands. */
export const EVENT_ADDRESS = 7;
const CAPACITY = 160;
/** Moves leave the rest to all else: a loop of many MACs makes thousands before one of them shows it, and that must be said. */
const MOVES = 128;

export class EventList {
  /** EVENT_RECORD words each, the first `count` are valid. */
  readonly words = new Int32Array(CAPACITY * EVENT_RECORD);
  count = 0;
  /** Events for which there was no room since `clear`. */
  lost = 0;

  add(kind: number, domain: number, port: number, before: number, high: number, low: number, number: number): void {
    if (this.count >= (kind === EVENT_MAC_MOVED ? MOVES : CAPACITY)) {
      this.lost++;
      return;
    }
    const at = this.count++ * EVENT_RECORD;
    const { words } = this;
    words[at] = kind;
    words[at + 1] = domain;
    words[at + 2] = port;
    words[at + 3] = before;
    words[at + 4] = high;
    words[at + 5] = low;
    words[at + 6] = number;
    words.fill(0, at + EVENT_ADDRESS, at + EVENT_RECORD);
  }

  /** With an address: four words, of which an IPv4 address takes the last, behind 0, 0 and 0xffff (RFC 4291, 2.5.5.2). */
  addWithAddress(
    kind: number,
    domain: number,
    port: number,
    high: number,
    low: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ): void {
    const before = this.count;
    this.add(kind, domain, port, 0, high, low, 0);
    if (this.count === before) return;
    const at = before * EVENT_RECORD + EVENT_ADDRESS;
    this.words[at] = a;
    this.words[at + 1] = b;
    this.words[at + 2] = c;
    this.words[at + 3] = d;
  }

  clear(): void {
    this.count = 0;
    this.lost = 0;
  }
}
