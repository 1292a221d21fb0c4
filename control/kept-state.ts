/**
 * What a Tapline writes down for the process after it: where its TAPs are and which addresses its endpoints have; and the objects that
 * the API made, as they were asked for, since no file names them. The configuration file's own objects stand in the file.
 */

import { KeptFile, readKept } from './kept-file.js';

/** To be raised when the content means something else. */
const VERSION = 1;

/** Objects by API. The key tells one from another of its kind. */
export type ObjectKind =
  | 'network'
  | 'endpoint'
  | 'route'
  | 'mirror'
  | 'fdb'
  /** VTEPs, FDB entries that lead to these, and neighbors that are told. */
  | 'vtep'
  | 'vtep-entry'
  | 'neighbor'
  | 'policy'
  | 'publish'
  | 'service'
  /** What health checks have said. */
  | 'health'
  /** Deadlines of backends that drain. */
  | 'drain'
  /** Ports of the host's addresses that are kept from its stack. */
  | 'guard';

/** An endpoint that had, or was about to have, a TAP. */
export interface KeptEndpoint {
  readonly network: string;
  readonly vrf: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
  /** Path of its namespace, and what tells it from another at the same path. */
  readonly netns: string;
  readonly identity: string;
  readonly interface: string;
  /** Of its rules in the namespace. */
  readonly table: number;
}

interface Content {
  readonly endpoints: Readonly<Record<string, KeptEndpoint>>;
  readonly objects: Readonly<Partial<Record<ObjectKind, Readonly<Record<string, unknown>>>>>;
}

const EMPTY: Content = { endpoints: {}, objects: {} };

export interface KeptStateOptions {
  /** Null: nothing is written down, and nothing was. */
  readonly path: string | null;
  failed(line: string): void;
}

export class KeptState {
  /** As the predecessor left them. */
  readonly left: ReadonlyMap<string, KeptEndpoint>;
  readonly #endpoints: Map<string, KeptEndpoint>;
  readonly #objects = new Map<ObjectKind, Map<string, unknown>>();
  readonly #file: KeptFile | null;

  /** @throws Error, one line, where what a predecessor wrote cannot be read */
  constructor({ path, failed }: KeptStateOptions) {
    const { endpoints, objects } = path === null ? EMPTY : ((readKept(path, VERSION) ?? EMPTY) as Content);
    this.left = new Map(Object.entries(endpoints));
    this.#endpoints = new Map(this.left);
    for (const [kind, some] of Object.entries(objects))
      this.#objects.set(kind as ObjectKind, new Map(Object.entries(some)));
    const content = (): Content => this.#content();
    this.#file = path === null ? null : new KeptFile({ path, version: VERSION, content, failed });
  }

  /** For a Tapline without a file. */
  static none(): KeptState {
    return new KeptState({ path: null, failed: () => undefined });
  }

  #content(): Content {
    const objects = [...this.#objects].map(([kind, some]) => [kind, Object.fromEntries(some)]);
    return { endpoints: Object.fromEntries(this.#endpoints), objects: Object.fromEntries(objects) };
  }

  #changed(): void {
    void this.#file?.changed();
  }

  setEndpoint(name: string, endpoint: KeptEndpoint): void {
    this.#endpoints.set(name, endpoint);
    this.#changed();
  }

  removeEndpoint(name: string): void {
    if (this.#endpoints.delete(name)) this.#changed();
  }

  /** Objects of a kind that the API made, in that order. */
  objects(kind: ObjectKind): [key: string, object: unknown][] {
    return [...(this.#objects.get(kind) ?? [])];
  }

  /** Undefined where there is none. */
  object(kind: ObjectKind, key: string): unknown {
    return this.#objects.get(kind)?.get(key);
  }

  /** @param object as it was asked for, in JSON's terms */
  setObject(kind: ObjectKind, key: string, object: unknown): void {
    const some = this.#objects.get(kind) ?? new Map<string, unknown>();
    this.#objects.set(kind, some.set(key, object));
    this.#changed();
  }

  /** Nothing happens where there is none: the file's objects are not written down. */
  removeObject(kind: ObjectKind, key: string): void {
    if (this.#objects.get(kind)?.delete(key)) this.#changed();
  }

  /** Writes what there is, and nothing from now on: what is taken apart afterwards is to be found by the next process. */
  seal(): void {
    this.#file?.write();
    this.#file?.close();
  }

  /** Nothing is written from now on. */
  close(): void {
    this.#file?.close();
  }
}
