/**
 * The guard of a shared uplink: rules at the ingress of the device that keep the host's stack from what is Tapline's, the networks'
 * subnets and ports of the host's addresses. The socket sees a frame before that hook does, so what is dropped there has reached us
 * already. Fragments but the first have no ports and pass; without the first the host's stack makes nothing of them.
 */

import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import { mergeRanges } from '../port-ranges.js';
import type { System } from '../system.js';

/** Before everything that the host may have at its own hooks there. */
const PRIORITY = -500;

const TABLE_PREFIX = 'tapline_';

/** nft takes letters, digits, `_`, `.`, `/` in a name; everything else as the number of the character. Other devices have other names. */
export function guardTable(device: string): string {
  const encode = (character: string): string => `_${character.codePointAt(0)?.toString(16)}_`;
  return `${TABLE_PREFIX}${device.replace(/[^A-Za-z0-9]/gu, encode)}`;
}

export function isGuardTable(table: string): boolean {
  return table.startsWith(TABLE_PREFIX);
}

/** Works where there is such a table, and where there is none. */
function removalScript(table: string): string {
  return `table netdev ${table}\ndelete table netdev ${table}\n`;
}

/** Ports of one of the host's addresses that are ours. */
export interface GuardedPorts {
  readonly address: string;
  /** Number of the IP protocol. */
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

/** Elements of a set of address, protocol and ports. nft refuses those that overlap, so there is each port once. */
function portElements(ports: readonly GuardedPorts[]): string[] {
  const places = new Map<string, GuardedPorts[]>();
  for (const one of ports) {
    const key = `${one.address} . ${one.protocol}`;
    places.set(key, [...(places.get(key) ?? []), one]);
  }
  return [...places].flatMap(([key, ranges]) =>
    mergeRanges(ranges).map(({ first, last }) => `${key} . ${first === last ? first : `${first}-${last}`}`),
  );
}

function portSet(name: string, type: string, ports: readonly GuardedPorts[]): string {
  const elements = ports.length === 0 ? '' : ` elements = { ${portElements(ports).join(', ')} }`;
  return `  set ${name} { type ${type} . inet_proto . inet_service; flags interval;${elements} }\n`;
}

function setOf(name: string, type: string, prefixes: readonly string[]): string {
  const elements = prefixes.length === 0 ? '' : ` elements = { ${prefixes.join(', ')} }`;
  return `  set ${name} { type ${type}; flags interval; auto-merge;${elements} }\n`;
}

/**
 * One transaction that puts the guard in the place of what was there before.
 *
 * @param mark says whose it is; see hostMark
 */
export function guardScript(
  device: string,
  prefixes: readonly string[],
  mark: string,
  ports: readonly GuardedPorts[] = [],
): string {
  const table = guardTable(device);
  const ports4 = ports.filter(({ address }) => !address.includes(':'));
  const ports6 = ports.filter(({ address }) => address.includes(':'));
  const [v4, v6] = [false, true].map((six) => prefixes.filter((prefix) => prefix.includes(':') === six));
  return `${removalScript(table)}table netdev ${table} {
${setOf('subnets4', 'ipv4_addr', v4 as string[])}${setOf('subnets6', 'ipv6_addr', v6 as string[])}${portSet('ports4', 'ipv4_addr', ports4)}${portSet('ports6', 'ipv6_addr', ports6)}  chain ingress {
    type filter hook ingress device "${device}" priority ${PRIORITY}; policy accept;
    ip daddr @subnets4 drop comment "${mark}"
    ip6 daddr @subnets6 drop comment "${mark}"
    ip daddr . meta l4proto . th dport @ports4 drop comment "${mark}"
    ip6 daddr . meta l4proto . th dport @ports6 drop comment "${mark}"
  }
}
`;
}

export class Guard {
  readonly #device: string;
  readonly #mark: string;
  readonly #system: System;
  readonly #logger: DataplaneLogger;
  #prefixes: readonly string[] = [];
  #ports: readonly GuardedPorts[] = [];
  /** The table as nft shows it when it is as it should be; null: we have made none. */
  #intact: string | null = null;
  /** What is there is not what was last wanted: nft refused it. */
  #behind = false;
  /** One piece of work after the other; never rejects. */
  #work: Promise<void> = Promise.resolve();
  /** That it could not be put back has been said. */
  #failing = false;

  /** @param mark says whose it is; see hostMark */
  constructor(device: string, mark: string, system: System, logger: DataplaneLogger) {
    this.#device = device;
    this.#mark = mark;
    this.#system = system;
    this.#logger = logger;
  }

  /** It is not there, or not as it should be; worth another try. */
  get failing(): boolean {
    return this.#failing || this.#behind;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** Puts it there, in the place of one that an earlier process left. @throws Error, one line: no nft, no such device */
  install(prefixes: readonly string[], ports: readonly GuardedPorts[] = []): Promise<void> {
    return this.#inTurn(async () => {
      this.#prefixes = prefixes;
      this.#ports = ports;
      this.#behind = true;
      await this.#put();
    });
  }

  async #put(): Promise<void> {
    await this.#system.runNft(guardScript(this.#device, this.#prefixes, this.#mark, this.#ports));
    this.#intact ??= '';
    this.#intact = (await this.#list()) ?? '';
    this.#behind = false;
    this.#failing = false;
  }

  #list(): Promise<string | null> {
    return this.#system.listNftTable('netdev', guardTable(this.#device));
  }

  /** Replaces what it drops, where that differs. @throws Error, one line */
  async update(prefixes: readonly string[], ports: readonly GuardedPorts[] = []): Promise<void> {
    const isSame = prefixes.join() === this.#prefixes.join() && JSON.stringify(ports) === JSON.stringify(this.#ports);
    if (this.#intact === null || (isSame && !this.#behind)) return;
    await this.install(prefixes, ports);
  }

  /** Puts it back where somebody took it away or changed it. Says so; does not reject. */
  check(): Promise<void> {
    return this.#inTurn(async () => {
      // Without the device there is nothing to guard; when it returns, the uplink installs it anew.
      if (this.#intact === null || this.#system.linkFacts(this.#device) === null) return;
      const wasBehind = this.#behind;
      if (!wasBehind && (await this.#list()) === this.#intact) {
        this.#failing = false;
        return;
      }
      await this.#put();
      const what = wasBehind ? 'is up to date again' : 'was gone from nftables, and is back';
      this.#logger.warn(`the guard of uplink ${this.#device} ${what}`);
    }).catch((error: unknown) => {
      // Once, not each second: it is tried again with the next look.
      if (!this.#failing)
        this.#logger.error(`the guard of uplink ${this.#device} cannot be put back: ${firstLine(error)}`);
      this.#failing = true;
    });
  }

  /** @throws Error, one line */
  remove(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#intact === null) return;
      this.#intact = null;
      this.#behind = false;
      await removeGuardTable(guardTable(this.#device), this.#system);
    });
  }
}

/** Removes what a killed process left on a device that now needs no guard. Where nft is missing or may do nothing, nothing was left. */
export async function removeStaleGuard(device: string, system: System): Promise<void> {
  const table = guardTable(device);
  const there = await system.listNftTable('netdev', table).catch(() => null);
  if (there !== null) await removeGuardTable(table, system);
}

export function removeGuardTable(table: string, system: System): Promise<void> {
  return system.runNft(removalScript(table));
}
