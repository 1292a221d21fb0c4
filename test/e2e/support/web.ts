/** A web server in a namespace, whose answers a test changes while it runs. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import { type Background, must } from './process.js';

const SERVER = `
const { readFileSync, appendFileSync } = require('node:fs');
const [port, directory, secure] = process.argv.slice(1);
const answer = ({ socket, url }, response) => {
  appendFileSync(directory + '/log', socket.remoteAddress + ' ' + url + '\\n');
  const [status, ...body] = readFileSync(directory + '/answer', 'utf8').split(' ');
  response.writeHead(Number(status)).end(body.join(' '));
};
const file = (name) => readFileSync(directory + '/' + name);
const server = secure === 'true'
  ? require('node:https').createServer({ key: file('key'), cert: file('cert') }, answer)
  : require('node:http').createServer(answer);
server.listen(Number(port), () => console.log('listening'));
`;

export interface WebServer {
  readonly process: Background;
  /** What it answers from now on. */
  answer(status: number, body?: string): void;
  /** Who has asked for what, oldest first: `::ffff:172.30.0.254 /health`. */
  log(): string[];
}

/** Answers 200 with `ok` until told otherwise. @param secure TLS, with a certificate that nobody else has signed */
export async function startWeb(
  t: Parameters<typeof temporaryDirectory>[0],
  namespace: Namespace,
  port: number,
  secure = false,
): Promise<WebServer> {
  const directory = temporaryDirectory(t);
  const answer = (status: number, body = ''): void => writeFileSync(join(directory, 'answer'), `${status} ${body}`);
  answer(200, 'ok');
  writeFileSync(join(directory, 'log'), '');
  if (secure) await makeCertificate(directory);
  const process_ = namespace.start(process.execPath, '-e', SERVER, String(port), directory, String(secure));
  await process_.said(/^listening$/m);
  const log = (): string[] => readFileSync(join(directory, 'log'), 'utf8').split('\n').slice(0, -1);
  return { process: process_, answer, log };
}

async function makeCertificate(directory: string): Promise<void> {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const files = ['-keyout', join(directory, 'key'), '-out', join(directory, 'cert')];
  await must(['openssl', 'req', '-x509', ...curve, '-subj', '/CN=nobody', '-days', '1', ...files]);
}
