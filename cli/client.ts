/** The HTTP API's client: JSON in and out over the Unix socket, errors as TaplineErrors with the daemon's own line. */

import { type IncomingMessage, request } from 'node:http';
import { type ErrorKind, firstLine, TaplineError } from '../control/errors.js';

const KINDS: Readonly<Record<number, ErrorKind>> = { 400: 'invalid', 404: 'missing', 409: 'conflict' };

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

function withQuery(path: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parameters.set(key, String(value));
  return parameters.size === 0 ? path : `${path}?${parameters}`;
}

async function readText(incoming: IncomingMessage): Promise<string> {
  let text = '';
  incoming.setEncoding('utf8');
  for await (const chunk of incoming) text += chunk;
  return text;
}

export class ApiClient {
  readonly socket: string;

  constructor(socket: string) {
    this.socket = socket;
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.#json<T>('GET', withQuery(path, query));
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.#json<T>('POST', path, body);
  }

  patch<T>(path: string, body: unknown): Promise<T> {
    return this.#json<T>('PATCH', path, body);
  }

  delete<T>(path: string, query: Query = {}): Promise<T> {
    return this.#json<T>('DELETE', withQuery(path, query));
  }

  /** The open answer of a GET, for bodies that go on. */
  async stream(path: string, query: Query = {}): Promise<IncomingMessage> {
    const incoming = await this.#send('GET', withQuery(path, query));
    if (incoming.statusCode !== 200) throw await this.#error(incoming);
    return incoming;
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const incoming = await this.#send(method, path, body);
    if ((incoming.statusCode ?? 500) >= 300) throw await this.#error(incoming);
    const text = await readText(incoming);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  async #error(incoming: IncomingMessage): Promise<TaplineError> {
    const text = await readText(incoming);
    const kind = KINDS[incoming.statusCode ?? 500] ?? 'failure';
    try {
      const { error } = JSON.parse(text) as { error?: unknown };
      if (typeof error === 'string') return new TaplineError(kind, error);
    } catch {
      // Not our JSON: whatever listens there is no tapline daemon.
    }
    return new TaplineError(
      'failure',
      `${this.socket} answered ${incoming.statusCode} without an error line; is it tapline's?`,
    );
  }

  #send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? null : JSON.stringify(body);
      const headers =
        payload === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
      const outgoing = request({ socketPath: this.socket, path, method, agent: false, headers }, resolve);
      outgoing.on('error', (error: NodeJS.ErrnoException) => reject(this.#unreachable(error)));
      outgoing.end(payload ?? undefined);
    });
  }

  #unreachable(error: NodeJS.ErrnoException): TaplineError {
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
      const remedy = 'start one with "tapline up -f FILE", or name its socket with --socket or TAPLINE_SOCKET';
      return new TaplineError('failure', `no tapline daemon answers on ${this.socket}; ${remedy}`);
    }
    if (error.code === 'EACCES')
      return new TaplineError('failure', `not allowed to open ${this.socket}; run as the daemon's user (root)`);
    if (error.code === 'ECONNRESET') return new TaplineError('failure', `the daemon on ${this.socket} went away`);
    return new TaplineError('failure', `${this.socket}: ${firstLine(error)}`);
  }
}
