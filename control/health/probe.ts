/** One check of a server, by a real socket of the thread that makes it: a connection, or a request and its answer. */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { HttpCheck, Target } from './messages.js';

/** Bytes of a body that are searched. */
export const BODY_LIMIT = 262_144;
/** Of what a library says about a failure. */
const MESSAGE_LENGTH = 120;

/**
 * @returns why it has failed, one line for a person; empty where it has not. Never rejects, and takes no longer than the target's timeout
 */
export function probe(target: Target): Promise<string> {
  const { http } = target;
  return http === null ? probeConnection(target) : probeHttp(target, http);
}

function probeConnection(target: Target): Promise<string> {
  return withinTimeout(target, (done) => {
    const socket = connect({ host: target.address, port: target.port });
    socket.on('connect', () => done(''));
    socket.on('error', (error) => done(failureOf(target, error)));
    return () => socket.destroy();
  });
}

function probeHttp(target: Target, http: HttpCheck): Promise<string> {
  return withinTimeout(target, (done) => {
    const request = send(target, http);
    request.on('error', (error) => done(failureOf(target, error)));
    request.on('response', (response) => judge(target, http, response, done));
    return () => request.destroy();
  });
}

/** @param start begins the check, which calls `done` any number of times; returns what ends it */
function withinTimeout(target: Target, start: (done: (failure: string) => void) => () => void): Promise<string> {
  return new Promise((resolve) => {
    const done = (failure: string): void => {
      clearTimeout(timer);
      resolve(failure);
      // Not in the middle of an event of what is to end.
      setImmediate(end);
    };
    const timer = setTimeout(
      () => done(`${name(target)} does not answer within ${target.timeout / 1000} s`),
      target.timeout,
    );
    const end = start(done);
  });
}

/** `172.30.0.2:80`, `[fd00::2]:80`. */
function name({ address, port }: Target): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

let context: SecureContext | null = null;

/** Of all checks. No authorities: nobody's certificate is looked at, and to read them takes its time. */
function anyCertificate(): SecureContext {
  context ??= createSecureContext({ ca: [] });
  return context;
}

function send(target: Target, { secure, path, host }: HttpCheck): ClientRequest {
  const options = {
    host: target.address,
    port: target.port,
    path,
    agent: false,
    headers: {
      Host: host,
      'User-Agent': 'tapline-health',
      Accept: '*/*',
      'Accept-Encoding': 'identity',
      Connection: 'close',
    },
  } as const;
  if (!secure) return httpRequest(options).end() as ClientRequest;
  const servername = isIP(host.replace(/^\[|\](:\d+)?$|:\d+$/g, '')) === 0 ? host : '';
  const tls = { rejectUnauthorized: false, secureContext: anyCertificate(), servername };
  return httpsRequest({ ...options, ...tls }).end() as ClientRequest;
}

function judge(target: Target, http: HttpCheck, response: IncomingMessage, done: (failure: string) => void): void {
  const { first, last, body } = http;
  const status = response.statusCode ?? 0;
  response.on('error', (error) => done(failureOf(target, error)));
  if (status < first || status > last) {
    done(`HTTP ${status}, expected ${first === last ? first : `${first}-${last}`}`);
    return;
  }
  if (body === '') {
    done('');
    return;
  }
  search(response, Buffer.from(body), (found) => done(found ? '' : `no ${JSON.stringify(body)} in the body`));
}

/** Looks for `wanted` as the body comes, so that a long one needs no room. */
function search(response: IncomingMessage, wanted: Buffer, told: (found: boolean) => void): void {
  let seen = 0;
  let end = Buffer.alloc(0);
  response.on('data', (chunk: Buffer) => {
    // What is looked for may lie across two chunks.
    const text = Buffer.concat([end, chunk]);
    seen += chunk.length;
    if (text.includes(wanted)) told(true);
    else if (seen >= BODY_LIMIT) told(false);
    end = text.subarray(Math.max(0, text.length - wanted.length + 1));
  });
  response.on('end', () => told(false));
}

/** What Node says of a failure, as a sentence about the server. */
function failureOf(target: Target, error: NodeJS.ErrnoException & { reason?: string }): string {
  const { code = '', message, reason } = error;
  switch (code) {
    case 'ECONNREFUSED':
      return `${name(target)} refuses connections`;
    case 'ECONNRESET':
    case 'EPIPE':
      return `${name(target)} ends the connection without an answer`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `${name(target)} is not reached (${code})`;
    default: {
      const what = target.http?.secure === true ? 'HTTPS' : 'HTTP';
      const isForeign = code.startsWith('HPE_') || code.startsWith('ERR_SSL') || code === 'EPROTO';
      return `${name(target)} ${isForeign ? `does not speak ${what}` : 'fails'}: ${plain(reason ?? message)}`;
    }
  }
}

/** One short line of printable characters. */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, MESSAGE_LENGTH);
}
