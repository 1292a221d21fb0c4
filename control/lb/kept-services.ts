/** Services that commands have made, changed or removed, written down for the next process. Those that are as the file has them are not. */

import { type ServiceConfig, serviceSchema } from '../config/schema.js';
import type { DataplaneLogger } from '../dataplane.js';
import { TaplineError } from '../errors.js';
import type { KeptState } from '../kept-state.js';
import { readKeptObject, restoreObjects } from '../restore.js';

/** What the file asked for, and what commands have made of that; null: nothing. */
interface KeptService {
  readonly asked: ServiceConfig | null;
  readonly now: ServiceConfig | null;
}

/** A service to be made at the start. */
export interface StartingService {
  readonly config: ServiceConfig;
  /** A command's: what cannot be made of it any more is said, and forgotten. */
  readonly isKept: boolean;
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

export class KeptServices {
  readonly #kept: KeptState;
  #file: ReadonlyMap<string, ServiceConfig> = new Map();

  constructor(kept: KeptState) {
    this.#kept = kept;
  }

  /** All services of the start by name: the file's, as commands have changed them, and those that commands have made. */
  async starting(
    file: ReadonlyMap<string, ServiceConfig>,
    logger: DataplaneLogger,
  ): Promise<Map<string, StartingService>> {
    this.#file = file;
    const all = new Map(
      [...file].map(([name, config]): [string, StartingService] => [name, { config, isKept: false }]),
    );
    await restoreObjects(this.#kept, 'service', logger, async (name, object) => {
      const { asked, now } = object as KeptService;
      if (!isSame(asked, file.get(name) ?? null))
        throw new TaplineError('conflict', 'the file says something else of it than before');
      if (now === null) all.delete(name);
      else all.set(name, { config: readKeptObject(serviceSchema, now), isKept: true });
    });
    return all;
  }

  /** By command. @param now null: it was removed */
  changed(name: string, now: ServiceConfig | null): void {
    const asked = this.#file.get(name) ?? null;
    if (isSame(asked, now)) this.#kept.removeObject('service', name);
    else this.#kept.setObject('service', name, { asked, now } satisfies KeptService);
  }

  /** It could not be made again; or is gone with its network. The file's comes back with the next process. */
  forget(name: string): void {
    this.#kept.removeObject('service', name);
  }
}
