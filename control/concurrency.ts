/** The ways in which the control plane keeps asynchronous work in order. */

/** At most `limit` pieces of work at once; the rest wait in order of arrival. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#free = limit;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/** One piece of work at a time, in order of arrival. One that fails does not keep the next from its turn. */
export class Turns {
  /** Resolves when the last piece of work has ended; never rejects. */
  #tail: Promise<void> = Promise.resolve();

  /** @returns what the work gives, or fails with: that is for its caller alone. Work must not wait for other work of the same turns */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** Resolves when all work that is under way or waits now has ended. */
  idle(): Promise<void> {
    return this.#tail;
  }
}

/** One piece of work at a time for each key, in order of arrival; different keys do not wait for each other. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(work);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }

  /** Resolves when all work that is under way now has ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
