/**
 * The one error class that people see. Its message is one line that names the thing and the remedy; its kind decides
 * the HTTP status and the exit code, so that file, API and CLI answer the same mistake in the same way.
 */

/**
 * - `invalid`: what was asked for cannot be right (400; exit 2)
 * - `missing`: a named thing does not exist: network, endpoint, container, namespace, device (404; `up` exits 2)
 * - `conflict`: it is right by itself, but something else has its name, address or interface (409)
 * - `failure`: the system refused (500)
 */
export type ErrorKind = 'invalid' | 'missing' | 'conflict' | 'failure';

const HTTP_STATUS: Readonly<Record<ErrorKind, number>> = { invalid: 400, missing: 404, conflict: 409, failure: 500 };

export class TaplineError extends Error {
  readonly kind: ErrorKind;
  /** Path of the key at fault inside the object, such as `addresses[0]`; empty when no key is at fault. */
  readonly key: string;
  /** The line without the key. */
  readonly detail: string;

  constructor(kind: ErrorKind, detail: string, key = '') {
    super(key === '' ? detail : `${key}: ${detail}`);
    this.name = 'TaplineError';
    this.kind = kind;
    this.key = key;
    this.detail = detail;
  }

  get httpStatus(): number {
    return HTTP_STATUS[this.kind];
  }
}

/** Errno names by which the kernel says that the thing asked for is not there. */
const MISSING_ERRNO = /^(ENOENT|ENODEV|ESRCH|ENXIO|ENOTDIR)\b/;
/** Errno names by which the kernel says that somebody else has it. */
const CONFLICT_ERRNO = /^(EEXIST|EBUSY|EADDRINUSE)\b/;

/** The first line of any thrown value. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text.split('\n', 1)[0] ?? '';
  return line === '' ? 'unknown error' : line;
}

function kindOf(line: string): ErrorKind {
  // A host without the tun module lacks no object that the user named.
  if (line.includes('/dev/net/tun')) return 'failure';
  if (line.endsWith('not a network namespace')) return 'invalid';
  if (MISSING_ERRNO.test(line)) return 'missing';
  return CONFLICT_ERRNO.test(line) ? 'conflict' : 'failure';
}

/**
 * Any error as a TaplineError. Errors of io/ begin with the errno's name (`EEXIST: interface eth0 already exists in ...`),
 * from which the kind follows.
 *
 * @param key path of the key that made us ask the system, kept when the error names none itself
 */
export function asTaplineError(error: unknown, key = ''): TaplineError {
  if (error instanceof TaplineError) return error;
  const line = firstLine(error);
  return new TaplineError(kindOf(line), line, key);
}
