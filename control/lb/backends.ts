/** A backend as it is wanted and as it is: whether its endpoint is there, and what its health check says. */

import type { BackendConfig } from '../config/schema.js';
import { addressWords } from '../router-specs.js';

/**
 * - up: gets connections
 * - draining: has weight 0: those that there are go on
 * - down: its health check says so
 * - absent: its endpoint is not there
 * - starting: its first check is not through; until then it counts as down
 */
export type BackendPhase = 'up' | 'draining' | 'down' | 'absent' | 'starting';

export interface BackendState {
  /** ENDPOINT:PORT. */
  readonly key: string;
  readonly config: BackendConfig;
  /** The dataplane's. */
  readonly number: number;
  /** Of its endpoint, without prefix length; empty while that is away. */
  readonly addresses: readonly string[];
  readonly state: BackendPhase;
  /** Why it is not up: `endpoint a is not there`; of one that is up, why nobody checks it. Else empty. */
  readonly reason: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Connections to it have failed lately: it gets none as long as there are others. */
  readonly suspect: boolean;
  /** Of one that drains: when its connections are ended, in milliseconds since the epoch; null: they end by themselves, or have. */
  readonly deadline: number | null;
}

/** How a backend is called in its service. */
export function backendKey({ endpoint, port }: BackendConfig): string {
  return `${endpoint}:${port}`;
}

/** Words of an address, IPv4 mapped (RFC 4291, 2.5.5.2). */
const ADDRESS_WORDS = 4;

interface Verdict {
  readonly up: boolean;
  readonly reason: string;
}

export class Backend implements BackendState {
  readonly key: string;
  readonly number: number;
  config: BackendConfig;
  addresses: readonly string[] = [];
  /** Four words each of its first IPv4 and its first IPv6 address; zeros where it has none. */
  readonly words = new Int32Array(2 * ADDRESS_WORDS);
  state: BackendPhase = 'absent';
  reason: string;
  since = Date.now();
  suspect = false;
  deadline: number | null = null;
  /** Null: no check is through yet. */
  #verdict: Verdict | null = null;

  constructor(config: BackendConfig, number: number) {
    this.key = backendKey(config);
    this.number = number;
    this.config = config;
    this.reason = `endpoint ${config.endpoint} is not there`;
  }

  /** Its endpoint came or went. What was known of its health was of the one before. @param addresses without prefix length; empty: it went */
  place(addresses: readonly string[]): void {
    this.addresses = addresses;
    this.words.fill(0);
    for (const address of addresses.toReversed())
      this.words.set(addressWords(address), address.includes(':') ? ADDRESS_WORDS : 0);
    this.suspect = false;
    this.#verdict = null;
  }

  judge(up: boolean, reason: string): void {
    this.#verdict = { up, reason };
  }

  /** May get connections, its weight permitting. @param isChecked it has a health check */
  isUp(isChecked: boolean): boolean {
    return this.addresses.length > 0 && (!isChecked || this.#verdict?.up === true);
  }

  /** Follows what has changed. @returns whether it is in another phase, or is so for another reason */
  follow(isChecked: boolean): boolean {
    const { state, reason } = this.#now(isChecked);
    if (state === this.state && reason === this.reason) return false;
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.reason = reason;
    return true;
  }

  #now(isChecked: boolean): Pick<BackendState, 'state' | 'reason'> {
    if (this.addresses.length === 0)
      return { state: 'absent', reason: `endpoint ${this.config.endpoint} is not there` };
    if (this.config.weight === 0) return { state: 'draining', reason: 'its weight is 0' };
    if (!isChecked) return { state: 'up', reason: '' };
    if (this.#verdict === null) return { state: 'starting', reason: 'its first check is not through' };
    return { state: this.#verdict.up ? 'up' : 'down', reason: this.#verdict.reason };
  }
}
