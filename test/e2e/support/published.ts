/**
 * Servers behind published ports that say who asks them, and those who ask: over HTTP with curl, and by datagrams from a port of
 * their own. So a test sees not only that somebody answers, but who, and whom that one takes the client for.
 */

import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import { PYTHON } from './scapy.js';

/** For servers in Python: a socket at all addresses of one family alone. */
export const BOUND = `
def bound(family, kind, port):
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(('::' if family == socket.AF_INET6 else '0.0.0.0', port))
    return s
`;

const SERVER = `
import socket, sys, threading
name, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
${BOUND}
def words(peer, port):
    return ' '.join([name, str(port), peer[0], str(peer[1])]).encode()

def answer(client, peer, port):
    with client:
        client.recv(65536)
        body = words(peer, port)
        client.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)

def tcp(s, port):
    while True:
        client, peer = s.accept()
        threading.Thread(target=answer, args=(client, peer, port), daemon=True).start()

def udp(s, port):
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(words(peer, port), peer)

for port in ports:
    for family in (socket.AF_INET, socket.AF_INET6):
        s = bound(family, socket.SOCK_STREAM, port)
        s.listen(128)
        threading.Thread(target=tcp, args=(s, port), daemon=True).start()
        threading.Thread(target=udp, args=(bound(family, socket.SOCK_DGRAM, port), port), daemon=True).start()
print('ready', flush=True)
threading.Event().wait()
`;

/** Asks once from a port of its own: address, port, own port (0: any), seconds to wait. Prints the answer, or the name of the error. */
const ASK = `
import errno, socket, sys
address, port, own, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ':' in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind(('::' if family == socket.AF_INET6 else '0.0.0.0', own))
s.connect((address, port))
s.settimeout(patience)
try:
    s.send(b'who am I?')
    print(s.recv(65536).decode(), s.getsockname()[1])
except socket.timeout:
    print('ETIMEDOUT')
except OSError as error:
    print(errno.errorcode[error.errno])
`;

/** Who answered, at which of its ports, and whom it takes the client for. */
export interface Answer {
  readonly name: string;
  readonly port: number;
  readonly peer: string;
  readonly peerPort: number;
}

function script(t: ExecutionContext, name: string, text: string): string {
  const file = join(temporaryDirectory(t), name);
  writeFileSync(file, text);
  return file;
}

/** Answers on TCP and UDP ports of a namespace, in both families. */
export async function serve(
  t: ExecutionContext,
  where: Namespace,
  name: string,
  ports: readonly number[],
): Promise<void> {
  const server = where.start(PYTHON, script(t, 'server.py', SERVER), name, ...ports.map(String));
  await server.said(/^ready$/m);
}

/** What a server's words say; null where it has said nothing. */
export function answerOf(text: string): Answer | null {
  const match = /^(\S+) (\d+) (\S+) (\d+)/.exec(text);
  if (match === null) return null;
  const [, name = '', port, peer = '', peerPort] = match;
  return { name, port: Number(port), peer, peerPort: Number(peerPort) };
}

/** One request over HTTP. @returns null where nobody answers within the time */
export async function fetchFrom(
  from: Namespace,
  address: string,
  port: number,
  ...options: string[]
): Promise<Answer | null> {
  const host = address.includes(':') ? `[${address}]` : address;
  const url = `http://${host}:${port}/`;
  const { stdout } = await from.run(['curl', '-s', '--noproxy', '*', '-m', '5', ...options, url]);
  return answerOf(stdout);
}

/** One datagram, and the answer to it. @param own port to send from; 0: any */
export async function ask(
  t: ExecutionContext,
  from: Namespace,
  address: string,
  port: number,
  own = 0,
): Promise<Answer | null> {
  const { stdout } = await from.run([PYTHON, script(t, 'ask.py', ASK), address, String(port), String(own), '3']);
  return answerOf(stdout);
}

/** A request to the API, without the start of a Node process that a command takes. @throws Error with what was answered, unless it is 2xx */
export function post(socketPath: string, path: string, body: object): Promise<unknown> {
  return send(socketPath, 'POST', path, body);
}

/** As `post`, with any method. @param body null: none */
export function send(socketPath: string, method: string, path: string, body: object | null = null): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, method, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      incoming.on('end', () => {
        if ((incoming.statusCode ?? 500) < 300) resolve(text === '' ? null : JSON.parse(text));
        else reject(new Error(`${method} ${path}: ${incoming.statusCode} ${text}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body === null ? undefined : JSON.stringify(body));
  });
}
