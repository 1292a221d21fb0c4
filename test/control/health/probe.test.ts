/** Single checks, by real sockets against real servers. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { HttpCheck, Target } from '../../../control/health/messages.js';
import { BODY_LIMIT, probe } from '../../../control/health/probe.js';

const HTTP: HttpCheck = { secure: false, path: '/', host: 'web.example', first: 200, last: 399, body: '' };

async function listening(t: ExecutionContext, server: Server, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function target(port: number, http: Partial<HttpCheck> | null, more: Partial<Target> = {}): Target {
  const wanted = http === null ? null : { ...HTTP, ...http };
  const times = { interval: 2000, timeout: 2000, rise: 2, fall: 3, up: null };
  return { id: 1, address: '127.0.0.1', port, http: wanted, ...times, ...more };
}

const web = (t: ExecutionContext, answer: RequestListener, host?: string): Promise<number> =>
  listening(t, createHttpServer(answer), host);

/** Answers whatever comes with a text as it is. */
const raw = (t: ExecutionContext, text: string): Promise<number> =>
  listening(
    t,
    createServer((socket) => socket.on('error', () => undefined).end(text)),
  );

test('tcp: a connection is enough, and is ended', async (t) => {
  const server = createServer();
  const ended = new Promise((resolve) => server.on('connection', (socket) => socket.resume().on('end', resolve)));
  const port = await listening(t, server);
  t.is(await probe(target(port, null)), '');
  await ended;
});

test('tcp: nobody listens', async (t) => {
  const server = createServer();
  const port = await listening(t, server);
  await new Promise((resolve) => server.close(resolve));
  t.is(await probe(target(port, null)), `127.0.0.1:${port} refuses connections`);
  t.is(await probe(target(port, {})), `127.0.0.1:${port} refuses connections`);
});

test('http: what is asked, and by whose name', async (t) => {
  let asked = '';
  const port = await web(t, ({ method, url, headers }, response) => {
    asked = `${method} ${url} ${headers.host} ${headers['user-agent']} ${headers.connection}`;
    response.end('fine');
  });
  t.is(await probe(target(port, { path: '/health?deep=1' })), '');
  t.is(asked, 'GET /health?deep=1 web.example tapline-health close');
});

test('http: the status must be one of those expected; redirects are not followed', async (t) => {
  const port = await web(t, ({ url }, response) => {
    response.writeHead(Number(url?.slice(1)), { Location: '/500' }).end();
  });
  const at = (status: number, more: Partial<HttpCheck> = {}) => probe(target(port, { path: `/${status}`, ...more }));
  t.is(await at(204), '');
  t.is(await at(302), '');
  t.is(await at(500), 'HTTP 500, expected 200-399');
  t.is(await at(200, { first: 418, last: 418 }), 'HTTP 200, expected 418');
  t.is(await at(418, { first: 418, last: 418 }), '');
});

test('http: the body must have the text, also across chunks, and within the limit', async (t) => {
  const port = await web(t, async ({ url }, response) => {
    if (url === '/halves') {
      response.write('all is we');
      await new Promise((resolve) => setTimeout(resolve, 30));
      response.end('ll');
      return;
    }
    if (url === '/endless') for (let i = 0; i < 2; i++) response.write('x'.repeat(BODY_LIMIT / 2));
    if (url === '/empty') response.end();
    if (url === '/open') response.write('all is well, and more to come');
  });
  const body = 'is well';
  t.is(await probe(target(port, { path: '/halves', body })), '');
  t.is(await probe(target(port, { path: '/open', body })), '');
  t.is(await probe(target(port, { path: '/empty', body })), 'no "is well" in the body');
  t.is(await probe(target(port, { path: '/endless', body })), 'no "is well" in the body');
});

test('http: an answer that does not come, or does not end, in time', async (t) => {
  const port = await web(t, ({ url }, response) => {
    if (url === '/half') response.write('all is');
  });
  const silence = `127.0.0.1:${port} does not answer within 0.2 s`;
  const begin = performance.now();
  t.is(await probe(target(port, {}, { timeout: 200 })), silence);
  t.is(await probe(target(port, { path: '/half', body: 'well' }, { timeout: 200 })), silence);
  t.true(performance.now() - begin < 1500);
});

test('http: what is none, and what ends without an answer', async (t) => {
  const ssh = await raw(t, 'SSH-2.0-OpenSSH_9.2\r\n');
  t.regex(await probe(target(ssh, {})), /^127\.0\.0\.1:\d+ does not speak HTTP: Expected HTTP/);
  const nothing = await raw(t, '');
  t.is(await probe(target(nothing, {})), `127.0.0.1:${nothing} ends the connection without an answer`);
  const half = await raw(t, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal');
  t.is(await probe(target(half, { body: 'half a body' })), `127.0.0.1:${half} ends the connection without an answer`);
});

test('http over IPv6 is named with brackets', async (t) => {
  const port = await web(t, (_, response) => response.writeHead(503).end(), '::1');
  t.is(await probe(target(port, {}, { address: '::1' })), 'HTTP 503, expected 200-399');
  t.is(await probe(target(port, { first: 503, last: 503 }, { address: '::1' })), '');
});

/** A key and a certificate that nobody else has signed. */
function selfSigned(t: ExecutionContext): { key: Buffer; cert: Buffer } {
  const directory = mkdtempSync(join(tmpdir(), 'tl-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const [key, cert] = [join(directory, 'key'), join(directory, 'cert')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const words = ['req', '-x509', ...curve, '-subj', '/CN=nobody', '-days', '1', '-keyout', key, '-out', cert];
  const { status, stderr } = spawnSync('openssl', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

test('https: any certificate will do, and the name is asked for', async (t) => {
  const names: unknown[] = [];
  const server = createHttpsServer(selfSigned(t), (request, response) => {
    names.push((request.socket as unknown as { servername: unknown }).servername);
    response.writeHead(request.url === '/' ? 200 : 500).end();
  });
  const port = await listening(t, server);
  t.is(await probe(target(port, { secure: true })), '');
  t.is(
    await probe(target(port, { secure: true, path: '/x', host: `127.0.0.1:${port}` })),
    'HTTP 500, expected 200-399',
  );
  t.deepEqual(names, ['web.example', false]);
  t.regex(await probe(target(port, {})), /ends the connection without an answer|does not speak HTTP|HTTP 400/);
});

test('https: a server without TLS', async (t) => {
  const port = await web(t, (_, response) => response.end());
  t.regex(await probe(target(port, { secure: true })), /^127\.0\.0\.1:\d+ does not speak HTTPS: [ -~]+$/);
});
