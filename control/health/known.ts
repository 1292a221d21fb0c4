/**
 * What checks have said last, for whoever checks next: another thread, or the process after this one. A backend that was up stays so
 * until its next check fails, so that a restart of the daemon refuses no connection.
 */

import type { KeptState } from '../kept-state.js';

export interface Verdict {
  /** That was checked. Another address is another container: what was before says nothing of it. */
  readonly address: string;
  readonly up: boolean;
  readonly reason: string;
}

export class KnownHealth {
  readonly #kept: KeptState;
  readonly #verdicts = new Map<string, Verdict>();
  /** An earlier process's, of backends that have not come back yet. */
  readonly #left: Map<string, Verdict>;

  constructor(kept: KeptState) {
    this.#kept = kept;
    this.#left = new Map(kept.objects('health') as [string, Verdict][]);
  }

  /** @param key service and backend */
  get(key: string): Verdict | undefined {
    return this.#verdicts.get(key);
  }

  keys(): string[] {
    return [...this.#verdicts.keys()];
  }

  set(key: string, verdict: Verdict): void {
    this.#verdicts.set(key, verdict);
    this.#left.delete(key);
    this.#kept.setObject('health', key, verdict);
  }

  delete(key: string): void {
    this.#verdicts.delete(key);
    this.#kept.removeObject('health', key);
  }

  /** What an earlier process knew of a backend; asked for once. */
  takeLeft(key: string): Verdict | undefined {
    const left = this.#left.get(key);
    this.#left.delete(key);
    return left;
  }

  /** Whoever has not come back by now does not. */
  settle(): void {
    for (const key of this.#left.keys()) this.#kept.removeObject('health', key);
    this.#left.clear();
  }
}
