/**
 * The guard of a shared uplink: rules at the ingress of the device that keep the host's stack from what is Tapline's, the networks'
 * subnets and ports of the host's addresses. The socket sees a frame before that hook does, so what is dropped there has reached us
 * already. Fragments but the first have no ports and pass; without the first the host's stack makes nothing of them.
 */

import type { HeldNft } from '../../io/held-nft.js';
import { Turns } from '../concurrency.js';
import type { DataplaneLogger } from '../dataplane.js';
import { firstLine } from '../errors.js';
import { mergeRanges } from '../port-ranges.js';
import type { System } from '../system.js';

/** Before everything that the host may have at its own hooks there. */
const PRIORITY = -500;

const TABLE_PREFIX = 'tapline_';
/** No device's table ends so: `_` in its name is a number. */
const HELD_SUFFIX = '_held';

/** nft takes letters, digits, `_`, `.`, `/` in a name; everything else as the number of the character. Other devices have other names. */
export function guardTable(device: string): string {
  const encode = (character: string): string => `_${character.codePointAt(0)?.toString(16)}_`;
  return `${TABLE_PREFIX}${device.replace(/[^A-Za-z0-9]/gu, encode)}`;
}

/** Of this process or another, which may be no more. */
export function isGuardTable(table: string): boolean {
  return table.startsWith(TABLE_PREFIX) && !table.endsWith(HELD_SUFFIX);
}

export function heldTable(device: string): string {
  return `${guardTable(device)}${HELD_SUFFIX}`;
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

/** What both tables have in them. */
function contents(
  device: string,
  prefixes: readonly string[],
  mark: string,
  ports: readonly GuardedPorts[] = [],
): string {
  const ports4 = ports.filter(({ address }) => !address.includes(':'));
  const ports6 = ports.filter(({ address }) => address.includes(':'));
  const [v4, v6] = [false, true].map((six) => prefixes.filter((prefix) => prefix.includes(':') === six));
  return `${setOf('subnets4', 'ipv4_addr', v4 as string[])}${setOf('subnets6', 'ipv6_addr', v6 as string[])}${portSet('ports4', 'ipv4_addr', ports4)}${portSet('ports6', 'ipv6_addr', ports6)}  chain ingress {
    type filter hook ingress device "${device}" priority ${PRIORITY}; policy accept;
    ip daddr @subnets4 drop comment "${mark}"
    ip6 daddr @subnets6 drop comment "${mark}"
    ip daddr . meta l4proto . th dport @ports4 drop comment "${mark}"
    ip6 daddr . meta l4proto . th dport @ports6 drop comment "${mark}"
  }
`;
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
  return `${removalScript(table)}table netdev ${table} {\n${contents(device, prefixes, mark, ports)}}\n`;
}

/** The same once more, in a table that nobody else can flush. */
export function heldScript(
  device: string,
  prefixes: readonly string[],
  mark: string,
  ports: readonly GuardedPorts[] = [],
): string {
  const table = heldTable(device);
  const body = contents(device, prefixes, mark, ports);
  const empty = `table netdev ${table} {\n  flags owner\n}\n`;
  return `${empty}delete table netdev ${table}\ntable netdev ${table} {\n  flags owner\n${body}}\n`;
}

/**
 * Two tables with the same in them. One outlives the process, so that its flows outlive it too; but whoever flushes the rules takes
 * it away, and before it is back the host's stack has reset every connection that had a packet on its way. The other is held: it ends
 * with the process, and not before. Where there can be none, the first is on its own.
 */
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
  readonly #turns = new Turns();
  /** That it could not be put back has been said. */
  #failing = false;
  #held: HeldNft | null = null;
  /** Why there is no table that is held, as has been said. */
  #unheld = '';

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

  /** Puts it there, in the place of one that an earlier process left. @throws Error, one line: no nft, no such device */
  install(prefixes: readonly string[], ports: readonly GuardedPorts[] = []): Promise<void> {
    return this.#turns.run(async () => {
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
    this.#hold();
  }

  #hold(): void {
    try {
      this.#held ??= this.#system.openHeldNft();
      this.#held.run(heldScript(this.#device, this.#prefixes, this.#mark, this.#ports));
      this.#unheld = '';
    } catch (error) {
      this.#letGo();
      const line = firstLine(error);
      const what = `whoever flushes the rules of nftables interrupts connections through ${this.#device}`;
      if (line !== this.#unheld) this.#logger.info(`${what}: ${line}`);
      this.#unheld = line;
    }
  }

  #letGo(): void {
    this.#held?.close();
    this.#held = null;
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
    return this.#turns
      .run(async () => {
        // Without the device there is nothing to guard; when it returns, the uplink installs it anew.
        if (this.#intact === null || this.#system.linkFacts(this.#device) === null) return;
        const wasBehind = this.#behind;
        if (!wasBehind && (await this.#list()) === this.#intact) {
          this.#failing = false;
          if (this.#held === null) this.#hold();
          return;
        }
        await this.#put();
        const what = wasBehind ? 'is up to date again' : 'was gone from nftables, and is back';
        this.#logger.warn(`the guard of uplink ${this.#device} ${what}`);
      })
      .catch((error: unknown) => {
        // Once, not each second: it is tried again with the next look.
        if (!this.#failing)
          this.#logger.error(`the guard of uplink ${this.#device} cannot be put back: ${firstLine(error)}`);
        this.#failing = true;
      });
  }

  /** @throws Error, one line */
  remove(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#intact === null) return;
      this.#intact = null;
      this.#behind = false;
      this.#letGo();
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
