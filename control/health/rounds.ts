/**
 * When servers are checked, and what the checks make of them. The first check comes at once; the second one after a random part of the
 * interval, so that the checks of many servers that came together are spread; all others in the interval.
 */

import { Semaphore } from '../concurrency.js';
import type { Order, Result, Target } from './messages.js';

/** Checks at once: each has a descriptor. */
export const CHECKS_AT_ONCE = 256;

/** Of time, and of chance. */
export interface Clock {
  /** Milliseconds. */
  now(): number;
  /** @returns cancels it */
  after(milliseconds: number, call: () => void): () => void;
  /** 0 up to 1. */
  random(): number;
}

export const realClock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, call) => {
    const timer = setTimeout(call, milliseconds);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

export interface RoundsParts {
  readonly clock: Clock;
  /** One check. Resolves with why it has failed, empty where it has not; never rejects. */
  probe(target: Target): Promise<string>;
  report(result: Result): void;
}

export class Rounds {
  readonly #parts: RoundsParts;
  readonly #rounds = new Map<number, Round>();
  readonly #atOnce = new Semaphore(CHECKS_AT_ONCE);

  constructor(parts: RoundsParts) {
    this.#parts = parts;
  }

  obey(order: Order): void {
    switch (order.op) {
      case 'check':
        for (const target of order.targets) this.#begin(target);
        break;
      case 'forget':
        for (const id of order.ids) this.#end(id);
        break;
      case 'now':
        this.#rounds.get(order.id)?.now();
        break;
    }
  }

  #begin(target: Target): void {
    const round = new Round(target, this.#parts, this.#atOnce);
    this.#rounds.set(target.id, round);
    round.now();
  }

  #end(id: number): void {
    this.#rounds.get(id)?.end();
    this.#rounds.delete(id);
  }
}

/** The checks of one server. */
class Round {
  readonly #target: Target;
  readonly #parts: RoundsParts;
  readonly #atOnce: Semaphore;
  readonly #standing: Standing;
  #isFirst = true;
  #isOver = false;
  #isUnderWay = false;
  /** Another one at once behind that under way. */
  #again = false;
  #cancel: () => void = () => undefined;

  constructor(target: Target, parts: RoundsParts, atOnce: Semaphore) {
    this.#target = target;
    this.#parts = parts;
    this.#atOnce = atOnce;
    this.#standing = new Standing(target);
  }

  now(): void {
    if (this.#isUnderWay) {
      this.#again = true;
      return;
    }
    this.#cancel();
    this.#isUnderWay = true;
    void this.#atOnce.run(() => this.#check());
  }

  end(): void {
    this.#isOver = true;
    this.#cancel();
  }

  async #check(): Promise<void> {
    if (this.#isOver) return;
    const { clock, probe, report } = this.#parts;
    const begin = clock.now();
    const failure = await probe(this.#target);
    this.#isUnderWay = false;
    // It may have ended while the check was under way.
    if (this.#isOver) return;
    if (this.#standing.note(failure)) report(this.#standing.result);
    this.#next(begin);
  }

  #next(begin: number): void {
    const { clock } = this.#parts;
    const { interval } = this.#target;
    const pause = this.#isFirst ? interval * clock.random() : begin + interval - clock.now();
    this.#isFirst = false;
    const isDue = this.#again;
    this.#again = false;
    this.#cancel = clock.after(isDue ? 0 : Math.max(0, pause), () => this.now());
  }
}

/** What the checks of a server have said so far. */
class Standing {
  readonly #target: Target;
  #up: boolean | null;
  #reason = '';
  /** Checks in a row that have said the opposite. */
  #against = 0;

  constructor(target: Target) {
    this.#target = target;
    this.#up = target.up;
  }

  get result(): Result {
    return { id: this.#target.id, up: this.#up === true, reason: this.#reason };
  }

  /** @param failure empty where the check has passed. @returns whether there is something to say */
  note(failure: string): boolean {
    const passed = failure === '';
    if (passed === this.#up) {
      this.#against = 0;
      // Down as before: what for may have changed.
      return this.#say(passed, failure, !passed && failure !== this.#reason);
    }
    this.#against++;
    const needed = this.#up === null ? 1 : passed ? this.#target.rise : this.#target.fall;
    if (this.#against < needed) return false;
    this.#against = 0;
    return this.#say(passed, failure, true);
  }

  #say(up: boolean, reason: string, isNews: boolean): boolean {
    if (!isNews) return false;
    this.#up = up;
    this.#reason = reason;
    return true;
  }
}
