/**
 * Somebody in a namespace who answers on a TCP port, says who he is and from where he was asked, and asks others the same; so a
 * test sees not only that an address is reached, but who has it, and with what source address the question came.
 */

import { createConnection } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import { PYTHON } from './scapy.js';

/** Port that agents answer on, in both families. */
export const AGENT_PORT = 7000;
/** Seconds: a request that was lost is repeated by the kernel after one, and by then also a refusal is there. */
const CONNECT_TIMEOUT = 6;

const AGENT = `
import errno, json, os, socket, sys, threading
name, path, port, timeout = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def listen(family, address):
    s = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(address)
    s.listen(64)
    return s

def serve(s, answer):
    while True:
        client, peer = s.accept()
        threading.Thread(target=answer, args=(client, peer), daemon=True).start()

def greet(client, peer):
    with client:
        client.sendall(json.dumps({'name': name, 'seenAs': peer[0]}).encode())

def ask(wanted):
    family = socket.AF_INET6 if ':' in wanted['address'] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        try:
            if wanted['source'] is not None:
                s.bind((wanted['source'], 0))
            s.connect((wanted['address'], port))
            text = b''
            while part := s.recv(4096):
                text += part
            return json.loads(text)
        except socket.timeout:
            return {'error': 'ETIMEDOUT'}
        except OSError as error:
            return {'error': errno.errorcode[error.errno]}

def work(client, peer):
    with client:
        client.sendall(json.dumps(ask(json.loads(client.makefile().readline()))).encode())

for family in (socket.AF_INET, socket.AF_INET6):
    threading.Thread(target=serve, args=(listen(family, ('', port)), greet), daemon=True).start()
orders = listen(socket.AF_UNIX, path)
print('listening', flush=True)
serve(orders, work)
`;

/** Who has answered, and the source address that he saw; or the name of the errno. */
export type Answer = { readonly name: string; readonly seenAs: string } | { readonly error: string };

export interface Agent {
  readonly name: string;
  readonly namespace: Namespace;
  /** Asks another. @param source address to ask from; else the kernel chooses */
  ask(address: string, source?: string): Promise<Answer>;
}

export async function startAgent(t: ExecutionContext, namespace: Namespace, name: string): Promise<Agent> {
  const path = join(temporaryDirectory(t), 's');
  const words = [name, path, String(AGENT_PORT), String(CONNECT_TIMEOUT)];
  await namespace.start(PYTHON, '-c', AGENT, ...words).said(/^listening$/m);
  return { name, namespace, ask: (address, source) => order(path, { address, source: source ?? null }) };
}

function order(path: string, wanted: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      try {
        resolve(JSON.parse(text) as Answer);
      } catch {
        reject(new Error(`an agent answered ${JSON.stringify(text)}`));
      }
    });
    socket.write(`${JSON.stringify(wanted)}\n`);
  });
}

/** What becomes of a ping. */
export type PingResult =
  | 'reply'
  /** ICMP says: administratively prohibited. */
  | 'filtered'
  /** ICMP says: no route to the network. */
  | 'net unreachable'
  /** ICMP says: the host does not answer; where the host is on the link, one's own kernel says it. */
  | 'host unreachable'
  /** The kernel has no route. */
  | 'nowhere'
  | 'silence';

const PING_TEXTS: readonly (readonly [RegExp, PingResult])[] = [
  [/ bytes from /, 'reply'],
  [/Packet filtered|Administratively prohibited/, 'filtered'],
  [/Destination Net Unreachable|Destination unreachable: No route/, 'net unreachable'],
  [/Destination Host Unreachable|Address unreachable/, 'host unreachable'],
  [/Network is unreachable/, 'nowhere'],
];

/** Pings once; again, where nothing comes back at all: a single packet may be lost, and errors are limited in their rate. */
export async function ping(from: Namespace, address: string, ...options: string[]): Promise<PingResult> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const { stdout, stderr } = await from.run(['ping', '-n', '-c', '1', '-W', '5', ...options, address]);
    const found = PING_TEXTS.find(([pattern]) => pattern.test(stdout + stderr));
    if (found !== undefined) return found[1];
  }
  return 'silence';
}
