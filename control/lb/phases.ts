/** What becomes of backends, for people: an event for each change of phase; and those that drain are followed until they have. */

import type { BackendEventKind, EventLog } from '../events.js';
import type { KeptState } from '../kept-state.js';
import type { Backend, BackendPhase } from './backends.js';
import { Draining } from './draining.js';
import type { Service } from './service.js';

const KINDS: Readonly<Record<BackendPhase, BackendEventKind>> = {
  up: 'backend-up',
  draining: 'backend-draining',
  down: 'backend-down',
  absent: 'backend-gone',
  starting: 'backend-starting',
};

const SENTENCES: Readonly<Record<BackendPhase, (reason: string) => string>> = {
  up: () => 'is up: it gets connections',
  draining: () => 'drains: it gets no new connections',
  down: (reason) => `is down: ${reason}`,
  absent: (reason) => `is gone: ${reason}`,
  starting: () => 'is there: it gets connections as soon as it passes its check',
};

export interface PhasesParts {
  readonly events: EventLog;
  readonly counters: Float64Array;
  readonly kept: KeptState;
  /** The deadline of a backend has come: what it has left is to be ended. */
  endFlows(backend: Backend): void;
}

export class Phases {
  readonly #parts: PhasesParts;
  readonly #draining: Draining;

  constructor(parts: PhasesParts) {
    this.#parts = parts;
    this.#draining = new Draining({
      counters: parts.counters,
      kept: parts.kept,
      drained: (service, backend, isOver) => this.#drained(service, backend, isOver),
    });
  }

  /**
   * Follows what has changed of a service's backends.
   *
   * @param quiet those that begin their life with the service are no news
   * @returns whether anything has changed
   */
  follow(service: Service, quiet: ReadonlySet<Backend> = new Set()): boolean {
    let hasChanged = false;
    for (const backend of service.backends) {
      const before = backend.state;
      if (!backend.follow(service.isChecked)) continue;
      hasChanged = true;
      if (backend.state === before) continue;
      if (before === 'draining') this.#draining.end(backend);
      const isNews = !quiet.has(backend);
      if (backend.state === 'draining') this.#draining.begin(service, backend, service.config.drain_timeout, isNews);
      if (isNews) this.#say(service, backend, KINDS[backend.state], this.#sentence(service, backend));
    }
    return hasChanged;
  }

  #sentence({ config }: Service, { state, reason }: Backend): string {
    const sentence = SENTENCES[state](reason);
    if (state !== 'draining' || config.drain_timeout === 0) return sentence;
    return `${sentence}; those that it has are ended in ${config.drain_timeout} s`;
  }

  /** Another time to drain, for those that drain already. */
  drainTimeChanged({ backends, config }: Service): void {
    for (const backend of backends) this.#draining.change(backend, config.drain_timeout);
  }

  /** It is the service's no more. */
  removed(service: Service, backend: Backend): void {
    this.#draining.end(backend);
    // Of one whose endpoint has gone that was said.
    if (backend.state === 'absent') return;
    this.#say(service, backend, 'backend-gone', 'is gone: it was taken out of its service');
  }

  /** The same with its whole service, which is no news of its backends. */
  ended({ backends }: Service): void {
    for (const backend of backends) this.#draining.end(backend);
  }

  /** All that is to come back has come back. */
  settle(): void {
    this.#draining.settle();
  }

  #drained(service: Service, backend: Backend, isOver: boolean): void {
    const what = isOver ? 'its time is over, and what it had left is ended' : 'it has no connections left';
    this.#say(service, backend, 'backend-drained', `has drained: ${what}`);
    if (isOver) this.#parts.endFlows(backend);
  }

  #say(service: Service, backend: Backend, kind: BackendEventKind, what: string): void {
    const label = service.labelOf(backend);
    this.#parts.events.addOfBackend(kind, label, service.config.network, `backend ${label} ${what}`);
  }
}
