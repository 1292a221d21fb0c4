/**
 * A service as the dataplane has it: what is configured of it, and what its scheduler remembers. Its addresses and ports are records of
 * core/nat/published.ts that name it.
 *
 * Backends have numbers, which are theirs for good, through every change of their service and the death of the process: flows that
 * outlive both name them.
 */

/** `SERVICE_SCHEDULER` values. */
export const SCHEDULER_RR = 0;
export const SCHEDULER_WRR = 1;
export const SCHEDULER_LC = 2;
export const SCHEDULER_WLC = 3;
export const SCHEDULER_SH = 4;
export const SCHEDULER_MAGLEV = 5;

/** Services have numbers from 1 to this. */
export const MAX_SERVICES = 0xffff;
/** Backends have numbers from 1 to this: 19 bits of a flow's word (flow.ts, FLOW_OWNER). */
export const MAX_BACKENDS = (1 << 17) - 1;
/** Backends of one service: what an entry of its table can name. */
export const MAX_BACKENDS_OF_SERVICE = 0xffff;

/** Words of a backend in `ServiceOptions.backends`. */
export const BACKEND_RECORD = 12;
/** 1 to MAX_BACKENDS. */
export const BACKEND_NUMBER = 0;
/** Its port for the first one of a listener's range; the others follow in order. */
export const BACKEND_PORT = 1;
/** 0 to 65535; 0: it gets no new flows. */
export const BACKEND_WEIGHT = 2;
/** BACKEND_ bits. */
export const BACKEND_FLAGS = 3;
/** IPv4 address, mapped (RFC 4291, 2.5.5.2), and IPv6 address, four words each; all 0: it has none of that family. */
export const BACKEND_ADDRESS4 = 4;
export const BACKEND_ADDRESS6 = 8;

/** BACKEND_FLAGS: its endpoint is there, and its health check is content. */
export const BACKEND_UP = 1;

/** Float64 a backend in the memory of counters, by its number. */
export const BACKEND_COUNTERS = 8;
/** Flows that it got in all. */
export const COUNT_FLOWS = 0;
/** Flows of now: established ones; and those that are half-open, or over but not forgotten. */
export const COUNT_ACTIVE = 1;
export const COUNT_INACTIVE = 2;
/** From clients to it, and from it to clients. Bytes of IP packets. */
export const COUNT_PACKETS_IN = 3;
export const COUNT_BYTES_IN = 4;
export const COUNT_PACKETS_OUT = 5;
export const COUNT_BYTES_OUT = 6;
/** Flows that it has refused, or not answered in time. */
export const COUNT_FAILURES = 7;

export interface ServiceOptions {
  /** SCHEDULER_ values. */
  readonly scheduler: number;
  /** Direct server return: packets reach backends as they are, with the service's address. */
  readonly direct: boolean;
  /** Seconds that a client keeps its backend behind its last flow's begin; 0: each flow for itself. */
  readonly affinity: number;
  /** New flows a second above which no more are noted, and hashing goes on without; 0: never. */
  readonly floodRate: number;
  /** Failures in a row that make a backend suspect; 0: none do. */
  readonly failures: number;
  /** Seconds that a suspect gets no new flows, as long as there are others. */
  readonly suspectTime: number;
  /** Of hashes: the same in every process, and on every node. */
  readonly seed: number;
  /** BACKEND_RECORD words each. */
  readonly backends: Int32Array;
  /** For SCHEDULER_SH and SCHEDULER_MAGLEV: places in `backends`, a prime number of them; else empty. */
  readonly table: Uint16Array;
}
