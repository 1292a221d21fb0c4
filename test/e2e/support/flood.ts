/** One container that opens connections and never completes them, while others must not notice; and segments that belong to none. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Host } from './lab.js';
import type { Namespace } from './namespace.js';
import { type Background, describe } from './process.js';
import { PYTHON } from './scapy.js';

/** The checksum is changed from one frame to the next by what has changed (RFC 1624): building each anew would take minutes. */
const FLOOD = `
import socket, struct, sys, time
device, source_mac, gateway_mac, source, target = sys.argv[1:6]
first, last, targets, first_target = (int(word) for word in sys.argv[6:10])

def octets(mac):
    return bytes.fromhex(mac.replace(':', ''))

def total(data):
    return sum(struct.unpack(f'!{len(data) // 2}H', data))

def fold(n):
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff

def addressed(address):
    return socket.inet_aton(address)

ip = bytearray(struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 1, 0x4000, 64, 6, 0, addressed(source), addressed(target)))
struct.pack_into('!H', ip, 10, fold(total(ip)))
pseudo = total(addressed(source) + addressed(target)) + 6 + 20
fixed = pseudo + (5 << 12 | 2) + 64240
frame = bytearray(octets(gateway_mac) + octets(source_mac) + b'\\x08\\x00' + ip + bytes(20))
struct.pack_into('!BBH', frame, 46, 5 << 4, 2, 64240)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((device, 0))
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
sent = 0
for target_port in range(first_target, first_target + targets):
    for port in range(first, last + 1):
        struct.pack_into('!HH', frame, 34, port, target_port)
        struct.pack_into('!I', frame, 38, sent)
        struct.pack_into('!H', frame, 50, fold(fixed + port + target_port + (sent >> 16) + (sent & 0xffff)))
        while True:
            try:
                s.send(frame)
                break
            except OSError as error:
                if error.errno != 105: # ENOBUFS: the queue is full
                    raise
        sent += 1
        if sent % 100 == 0:
            time.sleep(0.0005) # the queue of the TAP has room for 1,000, and says nothing where it is full
print('sent', sent, flush=True)
`;

export interface Flood {
  /** MAC and IPv4 address. */
  readonly gateway: string;
  readonly target: string;
  /** Source ports, from each of which one SYN goes to each of so many ports of the target. */
  readonly first: number;
  readonly last: number;
  readonly targets: number;
  readonly firstTarget: number;
}

/** Sends SYNs, a hundred thousand in a second or two. Says `sent N` at its end; a few may be lost on a busy machine. */
export function startFlood(t: ExecutionContext, from: Host, flood: Flood): Background {
  const file = join(temporaryDirectory(t), 'flood.py');
  writeFileSync(file, FLOOD);
  const numbers = [flood.first, flood.last, flood.targets, flood.firstTarget].map(String);
  return from.start(PYTHON, file, 'eth0', from.mac, flood.gateway, from.ip, flood.target, ...numbers);
}

/** Opens connections one after the other until it is told to end, and counts those that fail. */
const OPEN = `
import json, os, socket, sys, time
address, port, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
opened, failed, slowest = 0, [], 0
print('begun', flush=True)
while not os.path.exists(stop):
    start = time.monotonic()
    try:
        with socket.create_connection((address, port), 5) as s:
            s.send(b'who am I?')
            if not s.recv(65536).startswith(b'HTTP'):
                failed.append('no answer')
    except OSError as error:
        failed.append(str(error))
    opened += 1
    slowest = max(slowest, time.monotonic() - start)
print(json.dumps({'opened': opened, 'failed': failed[:5], 'failures': len(failed), 'slowest': slowest}), flush=True)
`;

export interface Opened {
  readonly opened: number;
  readonly failures: number;
  /** The first of them. */
  readonly failed: readonly string[];
  /** Seconds. */
  readonly slowest: number;
}

export interface Opener {
  /** Ends it. Resolves to what it has counted. */
  end(): Promise<Opened>;
}

export async function startOpening(
  t: ExecutionContext,
  from: Namespace,
  address: string,
  port: number,
): Promise<Opener> {
  const stop = join(temporaryDirectory(t), 'stop');
  const process = from.start(PYTHON, '-c', OPEN, address, String(port), stop);
  await process.said(/^begun$/m);
  return {
    end: async () => {
      writeFileSync(stop, '');
      const result = await process.ended;
      if (result.code !== 0) throw new Error(`opening connections: ${describe(result)}`);
      return JSON.parse(result.stdout.split('\n')[1] ?? '') as Opened;
    },
  };
}
