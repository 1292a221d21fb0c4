/**
 * The numbers that the dataplane knows things by. Names keep theirs from one process to the next, since flows and the FDB, which
 * outlive a process, know numbers alone; so a number is written down before it is used.
 */

/** Numbers by name, as they are written down. */
export type KeptNumbers = Readonly<Record<string, number>>;

export const KINDS = ['domains', 'ports', 'vrfs', 'interfaces', 'services', 'backends'] as const;
export type Kind = (typeof KINDS)[number];

export class NumberRegister {
  /** Numbers of a predecessor that nobody has asked for yet. */
  readonly #kept: Map<string, number>;
  readonly #reserved: Set<number>;
  readonly #names = new Map<number, string>();
  /** The highest that a predecessor had. */
  readonly highest: number;

  constructor(kept: KeptNumbers = {}) {
    this.#kept = new Map(Object.entries(kept).filter(([, number]) => Number.isSafeInteger(number) && number > 0));
    this.#reserved = new Set(this.#kept.values());
    this.highest = Math.max(0, ...this.#reserved);
  }

  /** It is somebody's, or will be. */
  isTaken(number: number): boolean {
    return this.#names.has(number) || this.#reserved.has(number);
  }

  /**
   * The number that the name had, or a new one.
   *
   * @param choose finds a number that is not taken; throws where there is none
   */
  take(name: string, choose: () => number): number {
    const kept = this.#kept.get(name);
    const number = kept ?? choose();
    if (kept !== undefined) {
      this.#kept.delete(name);
      this.#reserved.delete(kept);
    }
    this.#names.set(number, name);
    return number;
  }

  release(number: number): void {
    this.#names.delete(number);
  }

  /** Those of a predecessor that nobody has asked for yet. */
  left(): number[] {
    return [...this.#reserved];
  }

  /** Whoever has not come back by now does not. */
  settle(): void {
    this.#kept.clear();
    this.#reserved.clear();
  }

  list(): KeptNumbers {
    return Object.fromEntries([...this.#kept, ...[...this.#names].map(([number, name]) => [name, number] as const)]);
  }
}

/**
 * Chooses numbers from 1 on that go round, so that one is not used again at once.
 *
 * @returns what `take` wants; null where none is left
 */
export function goingRound(register: NumberRegister, most: number): () => number | null {
  let last = register.highest;
  return () => {
    for (let tried = 0; tried < most; tried++) {
      last = last >= most ? 1 : last + 1;
      if (!register.isTaken(last)) return last;
    }
    return null;
  };
}

export class Numbers {
  readonly domains: NumberRegister;
  readonly ports: NumberRegister;
  readonly vrfs: NumberRegister;
  readonly interfaces: NumberRegister;
  readonly services: NumberRegister;
  readonly backends: NumberRegister;
  readonly #save: () => Promise<void>;

  /** @param save writes down what `list` says, and settles when it has */
  constructor(kept: Partial<Record<Kind, KeptNumbers>> = {}, save: () => Promise<void> = () => Promise.resolve()) {
    this.domains = new NumberRegister(kept.domains);
    this.ports = new NumberRegister(kept.ports);
    this.vrfs = new NumberRegister(kept.vrfs);
    this.interfaces = new NumberRegister(kept.interfaces);
    this.services = new NumberRegister(kept.services);
    this.backends = new NumberRegister(kept.backends);
    this.#save = save;
  }

  /** To be awaited before a new number is used. */
  saved(): Promise<void> {
    return this.#save();
  }

  settle(): void {
    for (const kind of KINDS) this[kind].settle();
  }

  list(): Record<Kind, KeptNumbers> {
    return {
      domains: this.domains.list(),
      ports: this.ports.list(),
      vrfs: this.vrfs.list(),
      interfaces: this.interfaces.list(),
      services: this.services.list(),
      backends: this.backends.list(),
    };
  }
}
