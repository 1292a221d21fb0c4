/**
 * A TCP transfer that is watched while it runs: numbered blocks of which both ends keep a hash. It goes in stages, so that something
 * can be changed in the middle of each, however fast or slow the machine: the sender begins no stage before it is told.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { temporaryDirectory } from './frames.js';
import type { Namespace } from './namespace.js';
import { describe } from './process.js';
import { PYTHON } from './scapy.js';
import { eventually } from './wait.js';

const MIB = 1 << 20;

const RECEIVE = `
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)
print('listening', flush=True)
c, _ = s.accept()
digest, total, told = hashlib.blake2b(), 0, 0
buffer = memoryview(bytearray(1 << 20))
while n := c.recv_into(buffer):
    digest.update(buffer[:n])
    total += n
    while total - told >= 1 << 23:
        told += 1 << 23
        print('at', told >> 20, flush=True)
print('received', total, digest.hexdigest(), flush=True)
`;

const SEND = `
import hashlib, os, random, socket, sys, time
address, port, stage, stages, go = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
s = socket.create_connection((address, port), 20)
s.settimeout(60)
print('connected', flush=True)
digest, total = hashlib.blake2b(), 0
block = bytearray(random.Random(1).randbytes(1 << 20))
for i in range(stages):
    while not os.path.exists(f'{go}-{i}'):
        time.sleep(0.01)
    for j in range(stage):
        block[:8] = (i * stage + j).to_bytes(8, 'big')
        s.sendall(block)
        digest.update(block)
        total += len(block)
s.shutdown(socket.SHUT_WR)
print('sent', total, digest.hexdigest(), flush=True)
s.recv(1)
`;

export interface TransferOptions {
  readonly from: Namespace;
  readonly to: Namespace;
  /** Of the receiver. */
  readonly address: string;
  readonly port?: number;
  /** MiB of each stage, a multiple of 16. */
  readonly stage: number;
  /**
   * Done in the middle of each stage, whose number it is given. What `after` says then must come true before the next begins.
   */
  readonly change: readonly (() => Promise<void>)[];
  readonly after?: (stage: number) => Promise<void>;
}

/** Runs a transfer to its end. Rejects unless each byte arrived, once and as it was sent. Resolves to their number. */
export async function transfer(t: ExecutionContext, options: TransferOptions): Promise<number> {
  const { from, to, address, port = 5301, stage, change, after } = options;
  const go = join(temporaryDirectory(t), 'go');
  const receiver = to.start(PYTHON, '-c', RECEIVE, address, String(port));
  await receiver.said(/^listening$/m);
  const stages = change.length;
  const sender = from.start(PYTHON, '-c', SEND, address, String(port), String(stage), String(stages), go);
  await sender.said(/^connected$/m, 30_000);
  for (const [index, work] of change.entries()) {
    writeFileSync(`${go}-${index}`, '');
    const middle = index * stage + stage / 2;
    await receiver.said(new RegExp(`^at ${middle}$`, 'm'), 60_000);
    await work();
    if (!sender.running()) throw new Error(`the sender ended: ${describe(await sender.ended)}`);
    await eventually(
      `stage ${index} to arrive`,
      () => receiver.stdout().includes(`at ${(index + 1) * stage}\n`),
      60_000,
    );
    await after?.(index);
  }
  await receiver.said(/^received .*\n/m, 60_000);
  await sender.said(/^sent .*\n/m, 60_000);
  const [, sent, sentHash] = /^sent (\d+) (\w+)$/m.exec(sender.stdout()) ?? [];
  const [, received, receivedHash] = /^received (\d+) (\w+)$/m.exec(receiver.stdout()) ?? [];
  const expected = String(stages * stage * MIB);
  if (sent !== expected || received !== expected || sentHash !== receivedHash) {
    throw new Error(`${expected} bytes expected; sent ${sent} ${sentHash}, received ${received} ${receivedHash}`);
  }
  return Number(received);
}

/** A transfer of one stage in which nothing is changed. */
export function plainTransfer(
  t: ExecutionContext,
  from: Namespace,
  to: Namespace,
  address: string,
  stage: number,
  port?: number,
): Promise<number> {
  const nothing = async (): Promise<void> => {};
  return transfer(t, { from, to, address, stage, change: [nothing], ...(port === undefined ? {} : { port }) });
}
