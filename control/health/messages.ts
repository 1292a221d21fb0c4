/** What the main thread and the thread that checks tell each other. */

/** What an HTTP server is asked, and what it is to answer. */
export interface HttpCheck {
  /** TLS, with whatever certificate. */
  readonly secure: boolean;
  readonly path: string;
  /** The Host header. */
  readonly host: string;
  /** Status codes, both included. */
  readonly first: number;
  readonly last: number;
  /** Text that the body must have in it; empty: any body. */
  readonly body: string;
}

/** A server that is to be checked. */
export interface Target {
  /** Of this thread; never used again. */
  readonly id: number;
  readonly address: string;
  readonly port: number;
  /** Null: that it takes a connection is enough. */
  readonly http: HttpCheck | null;
  /** Milliseconds from one check's beginning to the next one's, and that a check may take. */
  readonly interval: number;
  readonly timeout: number;
  /** Checks in a row that turn it. */
  readonly rise: number;
  readonly fall: number;
  /** What it was when it was checked last; null: the first check decides. */
  readonly up: boolean | null;
}

export type Order =
  | { readonly op: 'check'; readonly targets: readonly Target[] }
  | { readonly op: 'forget'; readonly ids: readonly number[] }
  /** At once, whenever the next check would be. */
  | { readonly op: 'now'; readonly id: number };

/** Of a target that has turned, or is down for another reason than before. */
export interface Result {
  readonly id: number;
  readonly up: boolean;
  /** Of the check that failed; empty where it is up. */
  readonly reason: string;
}

export type Report =
  /** It is in its namespace, whose path this is. */
  { readonly kind: 'inside'; readonly netns: string } | ({ readonly kind: 'result' } & Result);
