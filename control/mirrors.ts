/**
 * Mirrors: copies of what passes on some ports, sent to another. A mirror is wanted from the time it is made until it is removed;
 * the dataplane has it while both its sides are up.
 */

import type { Logger } from 'pino';
import { Turns } from './concurrency.js';
import { mirrorCycle, mirrorSource, type NetworkOf } from './config/mirror.js';
import type { MirrorConfig } from './config/schema.js';
import { asTaplineError, firstLine, TaplineError } from './errors.js';
import type { Dataplane, MirrorSpec } from './types.js';

/** What is up right now: the dataplane's numbers, or the reason why there is none. */
export interface Sides {
  endpointPort(name: string): number | null;
  networkNumber(name: string): number | null;
  uplinkPort(): number | null;
  readonly networkOf: NetworkOf;
}

export interface MirrorView {
  readonly name: string;
  readonly from: { readonly network?: string; readonly endpoint?: string; readonly uplink?: true };
  readonly to: string;
  readonly direction: 'in' | 'out' | 'both';
  readonly state: 'active' | 'waiting';
  /** What a waiting mirror waits for; empty for an active one. */
  readonly reason: string;
}

interface Mirror {
  readonly name: string;
  readonly config: MirrorConfig;
  /** What the dataplane has of it. */
  live: { readonly number: number; readonly spec: MirrorSpec } | null;
  reason: string;
  removed: boolean;
}

function isSame(a: MirrorSpec | null, b: MirrorSpec): boolean {
  return a !== null && a.fromPort === b.fromPort && a.fromNetwork === b.fromNetwork && a.to === b.to;
}

export class Mirrors {
  readonly #dataplane: Dataplane;
  readonly #logger: Logger;
  readonly #sides: Sides;
  readonly #mirrors = new Map<string, Mirror>();
  readonly #turns = new Turns();

  constructor(dataplane: Dataplane, logger: Logger, sides: Sides) {
    this.#dataplane = dataplane;
    this.#logger = logger;
    this.#sides = sides;
  }

  /** As they are wanted. */
  get configs(): Map<string, MirrorConfig> {
    return new Map([...this.#mirrors].map(([name, { config }]) => [name, config]));
  }

  /** @throws TaplineError `conflict` for a name that is taken; whatever the dataplane refuses it for */
  async add(name: string, config: MirrorConfig): Promise<void> {
    if (this.#mirrors.has(name)) throw new TaplineError('conflict', `mirror ${name} already exists`);
    const mirror: Mirror = { name, config, live: null, reason: '', removed: false };
    this.#mirrors.set(name, mirror);
    let failure: unknown = null;
    await this.#turns.run(async () => {
      failure = await this.#refresh(mirror);
    });
    if (failure === null) return;
    this.#mirrors.delete(name);
    throw asTaplineError(failure);
  }

  /** @throws TaplineError `missing` */
  async remove(name: string): Promise<void> {
    const mirror = this.#mirrors.get(name);
    if (mirror === undefined) throw new TaplineError('missing', `no mirror ${name}`);
    this.#mirrors.delete(name);
    mirror.removed = true;
    await this.#turns.run(() => this.#end(mirror));
  }

  /** Called whenever a side may have come or gone. */
  update(): void {
    if (this.#mirrors.size === 0) return;
    void this.#turns.run(async () => {
      for (const mirror of this.#mirrors.values()) {
        const failure = await this.#refresh(mirror);
        if (failure !== null) this.#logger.warn(`mirror ${mirror.name} waits: ${firstLine(failure)}`);
      }
    });
  }

  /** Makes the dataplane have what there is to have. @returns what went wrong, or null */
  async #refresh(mirror: Mirror): Promise<unknown> {
    if (mirror.removed) return null;
    const spec = this.#resolve(mirror);
    if (mirror.live !== null && !isSame(spec, mirror.live.spec)) {
      // The side that went has taken the dataplane's mirror along.
      mirror.live = null;
      this.#logger.info(`mirror ${mirror.name} ended${mirror.reason === '' ? '' : `: ${mirror.reason}`}`);
    }
    if (spec === null || mirror.live !== null || this.#isInCycle(mirror)) return null;
    try {
      mirror.live = { number: await this.#dataplane.addMirror(spec), spec };
    } catch (error) {
      mirror.reason = firstLine(error);
      return error;
    }
    this.#logger.info(`mirror ${mirror.name} copies ${mirrorSource(mirror.config)} to endpoint ${mirror.config.to}`);
    return null;
  }

  /** The mirror in numbers; or null, and then `reason` says why. */
  #resolve(mirror: Mirror): MirrorSpec | null {
    const { config } = mirror;
    const to = this.#sides.endpointPort(config.to);
    const from = this.#source(config);
    mirror.reason = '';
    if (from === null) mirror.reason = `${mirrorSource(config)} is not up`;
    else if (to === null) mirror.reason = `endpoint ${config.to} is not up`;
    return from === null || to === null ? null : { ...from, to, direction: config.direction };
  }

  /** True when it must wait, since an endpoint that came back in another network has made a circle of mirrors. */
  #isInCycle(mirror: Mirror): boolean {
    const { name, config } = mirror;
    const live = [...this.#mirrors.values()].filter((other) => other.live !== null);
    const mirrors = new Map([...live.map((other) => [other.name, other.config] as const), [name, config]]);
    const cycle = mirrorCycle(name, mirrors, this.#sides.networkOf);
    if (cycle === null) return false;
    mirror.reason = `copies would go round in a circle with mirror ${cycle[0]}`;
    return true;
  }

  #source({ from }: MirrorConfig): Pick<MirrorSpec, 'fromPort' | 'fromNetwork'> | null {
    if (from.network !== undefined) {
      const fromNetwork = this.#sides.networkNumber(from.network);
      return fromNetwork === null ? null : { fromPort: null, fromNetwork };
    }
    const fromPort = from.endpoint === undefined ? this.#sides.uplinkPort() : this.#sides.endpointPort(from.endpoint);
    return fromPort === null ? null : { fromPort, fromNetwork: null };
  }

  async #end(mirror: Mirror): Promise<void> {
    const { live } = mirror;
    mirror.live = null;
    if (live === null || !isSame(this.#resolve(mirror), live.spec)) return;
    await this.#dataplane
      .removeMirror(live.number)
      .catch((error: unknown) => this.#logger.debug(`removing mirror ${mirror.name} failed: ${firstLine(error)}`));
  }

  list(): MirrorView[] {
    return [...this.#mirrors.values()].map(view);
  }

  /** @throws TaplineError `missing` */
  view(name: string): MirrorView {
    const mirror = this.#mirrors.get(name);
    if (mirror === undefined) throw new TaplineError('missing', `no mirror ${name}`);
    return view(mirror);
  }

  /** Ends and forgets them all. */
  async clear(): Promise<void> {
    const all = [...this.#mirrors.values()];
    this.#mirrors.clear();
    for (const mirror of all) mirror.removed = true;
    await this.#turns.run(async () => {
      for (const mirror of all) await this.#end(mirror);
    });
  }
}

function view({ name, config, live, reason }: Mirror): MirrorView {
  const { from, to, direction } = config;
  const source =
    from.network !== undefined
      ? { network: from.network }
      : from.endpoint !== undefined
        ? { endpoint: from.endpoint }
        : { uplink: true as const };
  return { name, from: source, to, direction, state: live === null ? 'waiting' : 'active', reason };
}
