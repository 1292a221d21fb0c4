/**
 * Which client has which backend, for services with affinity. A table of fixed size, four places for each hash: where all of them are
 * taken, the one that would end soonest ends at once, and its client gets whichever backend is next.
 */

import { mix } from '../tables/number-index.js';

/** Clients, in all services: 1.75 MiB, made when the first one asks for it. */
export const AFFINITY_CLIENTS = 1 << 16;
const WAYS = 4;
/** Words a client: service, address (four), backend (0: nobody is here), second in which it ends. */
const WORDS = 7;
const SERVICE = 0;
const ADDRESS = 1;
const BACKEND = 5;
const EXPIRES = 6;

export class Affinity {
  /** Clients that were forgotten before their time. */
  evicted = 0;
  private words: Int32Array | null = null;
  private readonly seed: number;

  /** @param seed from a random source, so that nobody can choose addresses that put others out */
  constructor(seed: number) {
    this.seed = seed;
  }

  /**
   * @param client four words of address from 0 on
   * @param now seconds
   * @returns number of the backend; 0: none
   */
  find(service: number, client: Int32Array, now: number): number {
    const { words } = this;
    if (words === null) return 0;
    const at = search(words, this.home(service, client), service, client);
    return at >= 0 && words[at + EXPIRES] > now ? words[at + BACKEND] : 0;
  }

  /** The client has this backend until then. */
  keep(service: number, client: Int32Array, backend: number, now: number, expires: number): void {
    this.words ??= new Int32Array(AFFINITY_CLIENTS * WORDS);
    const { words } = this;
    const home = this.home(service, client);
    const known = search(words, home, service, client);
    const at = known >= 0 ? known : this.room(words, home, now);
    words[at + SERVICE] = service;
    for (let i = 0; i < 4; i++) words[at + ADDRESS + i] = client[i];
    words[at + BACKEND] = backend;
    words[at + EXPIRES] = expires;
  }

  private room(words: Int32Array, home: number, now: number): number {
    let soonest = home;
    for (let at = home; at < home + WAYS * WORDS; at += WORDS) {
      if (words[at + BACKEND] === 0) return at;
      if (words[at + EXPIRES] < words[soonest + EXPIRES]) soonest = at;
    }
    if (words[soonest + EXPIRES] > now) this.evicted++;
    return soonest;
  }

  private home(service: number, client: Int32Array): number {
    const hash = mix(mix(mix(mix(mix(this.seed, service), client[0]), client[1]), client[2]), client[3]);
    return (hash & (AFFINITY_CLIENTS / WAYS - 1)) * WAYS * WORDS;
  }
}

function search(words: Int32Array, home: number, service: number, client: Int32Array): number {
  for (let at = home; at < home + WAYS * WORDS; at += WORDS) {
    if (words[at + SERVICE] !== service || words[at + BACKEND] === 0) continue;
    const address = at + ADDRESS;
    if (words[address + 3] !== client[3] || words[address + 2] !== client[2]) continue;
    if (words[address + 1] === client[1] && words[address] === client[0]) return at;
  }
  return -1;
}
