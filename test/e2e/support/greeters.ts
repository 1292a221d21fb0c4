/**
 * What stands behind services, and who connects to them. A greeter says on each connection, at once and before it is asked, who it is and
 * whom it takes the client for, and echoes what it gets; to a datagram it says the same. Counters open thousands of connections as fast
 * as they can; holders keep theirs, ask on them all the time, and say when and why one ended.
 */

import type { Host } from './lab.js';
import type { Namespace } from './namespace.js';
import { type Background, describe } from './process.js';
import { type Answer, answerOf, BOUND } from './published.js';
import { PYTHON } from './scapy.js';
import { eventually } from './wait.js';

const GREETER = `
import resource, selectors, socket, sys
name, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
selector = selectors.DefaultSelector()
${BOUND}
def words(peer, port):
    return f'{name} {port} {peer[0]} {peer[1]}\\n'.encode()

def accept(s, port):
    try:
        for _ in range(64):
            client, peer = s.accept()
            client.setblocking(False)
            try:
                client.send(words(peer, port))
                selector.register(client, selectors.EVENT_READ, (echo, port))
            except OSError:
                client.close()
    except BlockingIOError:
        pass

def echo(client, port):
    try:
        data = client.recv(65536)
        if data:
            client.send(data)
            return
    except OSError:
        pass
    selector.unregister(client)
    client.close()

def answer(s, port):
    _, peer = s.recvfrom(65536)
    s.sendto(words(peer, port), peer)

for port in ports:
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind, work in ((socket.SOCK_STREAM, accept), (socket.SOCK_DGRAM, answer)):
            s = bound(family, kind, port)
            s.setblocking(False)
            if kind == socket.SOCK_STREAM:
                s.listen(4096)
            selector.register(s, selectors.EVENT_READ, (work, port))
print('ready', flush=True)
while True:
    for key, _ in selector.select():
        work, port = key.data
        work(key.fileobj, port)
`;

/**
 * Arguments: address, port, connections, how many at a time, sources (0: the usual one; else connection i comes from address i modulo
 * sources of BASE). Prints in their order whom each found, or the name of its error.
 */
const COUNTER = `
import errno, ipaddress, json, resource, selectors, socket, sys, time
address, port, count, width, sources = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
base = ipaddress.ip_address(sys.argv[6]) if sources else None
resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
family = socket.AF_INET6 if ':' in address else socket.AF_INET
selector = selectors.DefaultSelector()
PATIENCE = 15 # seconds
found, begun, open_now = [None] * count, 0, 0

def begin(i):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setblocking(False)
    if base is not None:
        if family == socket.AF_INET:
            s.setsockopt(socket.IPPROTO_IP, 24, 1) # IP_BIND_ADDRESS_NO_PORT: a port serves many sources
        s.bind((str(base + i % sources), 0))
    s.connect_ex((address, port))
    selector.register(s, selectors.EVENT_READ, (i, time.monotonic()))

def end(s, i, what):
    global open_now
    found[i] = what
    open_now -= 1
    selector.unregister(s)
    s.close()

began = time.monotonic()
while begun < count or open_now > 0:
    while begun < count and open_now < width:
        open_now += 1
        begin(begun)
        begun += 1
    for key, _ in selector.select(1):
        try:
            end(key.fileobj, key.data[0], key.fileobj.recv(200).decode().split(' ')[0] or 'closed')
        except OSError as error:
            end(key.fileobj, key.data[0], errno.errorcode[error.errno])
    if begun == count:
        now = time.monotonic()
        for key in list(selector.get_map().values()):
            if now - key.data[1] > PATIENCE:
                end(key.fileobj, key.data[0], 'ETIMEDOUT')
print(json.dumps({'found': found, 'seconds': time.monotonic() - began}))
`;

/**
 * Arguments: address, port, connections, milliseconds between two questions on each (0: it asks none), own address ('': the usual one).
 * Lines: "open I GREETING", "at N" (rounds of questions that all open ones answered), "lost I ERROR EPOCH-MILLISECONDS".
 */
const HOLDER = `
import errno, selectors, socket, sys, time
address, port, count, pause, own = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) / 1000, sys.argv[5]
selector = selectors.DefaultSelector()
waits, rounds, alive = set(), 0, {}

def say(*words):
    print(*words, flush=True)

def lose(i, why):
    say('lost', i, why, int(time.time() * 1000))
    selector.unregister(alive[i])
    alive.pop(i).close()
    waits.discard(i)

for i in range(count):
    s = socket.create_connection((address, port), 10, (own, 0) if own else None)
    say('open', i, s.recv(200).decode().strip())
    s.setblocking(False)
    alive[i] = s
    selector.register(s, selectors.EVENT_READ, i)
say('all open')
asked = time.monotonic()
while alive:
    if pause and time.monotonic() - asked >= pause and not waits:
        if rounds:
            say('at', rounds)
        rounds += 1
        asked = time.monotonic()
        for i, s in list(alive.items()):
            try:
                s.send(b'there?')
                waits.add(i)
            except OSError as error:
                lose(i, errno.errorcode[error.errno])
    for key, _ in selector.select(pause / 4 or None):
        i = key.data
        try:
            data = key.fileobj.recv(4096)
            if data:
                waits.discard(i)
            else:
                lose(i, 'closed')
        except OSError as error:
            lose(i, errno.errorcode[error.errno])
say('none left')
`;

/** Greets on TCP and UDP ports of a namespace, in both families. */
export async function greet(where: Namespace, name: string, ports: readonly number[]): Promise<Background> {
  const server = where.start(PYTHON, '-c', GREETER, name, ...ports.map(String));
  await server.said(/^ready$/m);
  return server;
}

/** Each by its endpoint's name, at port 80. */
export async function greetAll(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) await greet(host, host.endpoint, [80]);
}

/** How often each name came; errors have names too, in capitals. */
export type Counts = Readonly<Record<string, number>>;

export interface Counted {
  /** Whom each connection found, in the order in which they began, or the name of its error. */
  readonly found: readonly string[];
  readonly counts: Counts;
  readonly seconds: number;
}

export interface CountOptions {
  /** Connections at a time. */
  readonly width?: number;
  /** Connection i comes from address `base` + i modulo `sources`, which the namespace must have. */
  readonly sources?: number;
  readonly base?: string;
}

/** Opens connections, one after the other or some at a time, and closes each when it has been greeted. */
export async function countConnections(
  from: Namespace,
  address: string,
  port: number,
  connections: number,
  { width = 1, sources = 0, base = '' }: CountOptions = {},
): Promise<Counted> {
  const numbers = [port, connections, width, sources].map(String);
  const result = await from.run([PYTHON, '-c', COUNTER, address, ...numbers, base]);
  if (result.code !== 0) throw new Error(`counter: ${describe(result)}`);
  const { found, seconds } = JSON.parse(result.stdout) as { found: string[]; seconds: number };
  return { found, counts: tally(found), seconds };
}

/** How often each of them is there. */
export function tally(names: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** Standard deviations from what is expected that chance does not reach: less than once in a million runs. */
const SIGMAS = 5;

/** Whether chance gives somebody so many of them, whose share is expected to be that: a binomial distribution. */
export function isByChance(count: number, share: number, total: number): boolean {
  return Math.abs(count - total * share) < SIGMAS * Math.sqrt(total * share * (1 - share));
}

export interface Loss {
  readonly connection: number;
  /** As in ECONNRESET; `closed` where the other end said that it is over. */
  readonly why: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface Holder {
  /** What each connection was told at its begin. */
  readonly greetings: readonly Answer[];
  /** The connections that have ended. */
  lost(): Loss[];
  /** Waits until all that are still open have answered again. */
  goesOn(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Opens connections one after the other, and keeps them.
 *
 * @param pause milliseconds between two questions on each; 0: it asks none, and waits
 */
export async function hold(
  from: Namespace,
  address: string,
  port: number,
  connections: number,
  { pause = 50, own = '' }: { pause?: number; own?: string } = {},
): Promise<Holder> {
  const client = from.start(PYTHON, '-c', HOLDER, address, String(port), String(connections), String(pause), own);
  await client.said(/^all open$/m, 30_000);
  const greetings = [...client.stdout().matchAll(/^open \d+ (.*)$/gm)].map(([, text = '']) => answerOf(text)!);
  const rounds = (): number => Number([...client.stdout().matchAll(/^at (\d+)$/gm)].at(-1)?.[1] ?? 0);
  return {
    greetings,
    lost: () =>
      [...client.stdout().matchAll(/^lost (\d+) (\S+) (\d+)$/gm)].map(([, connection, why = '', at]) => ({
        connection: Number(connection),
        why,
        at: Number(at),
      })),
    goesOn: async () => {
      const before = rounds();
      // The round of now may have begun before.
      await eventually('connections to go on', () => rounds() >= before + 2, 30_000);
    },
    stop: async () => {
      await client.stop('SIGKILL');
    },
  };
}
