/** iperf3 between two namespaces. */

import type { Namespace } from './namespace.js';
import { type Background, describe, type Result } from './process.js';
import { sleep } from './wait.js';

const MIB = 1 << 20;
const DEFAULT_PORT = '5201';
/** Of a client, in milliseconds. With a number of bytes to move instead of a time, iperf3 itself would wait for ever. */
const LIMIT_MS = 60_000;
/** Milliseconds after the end of a client within which the server may still be busy with it. */
const BUSY_MS = 10_000;
const AGAIN_MS = 50;
/** Most that a server's socket takes before the server reads it. */
const RECEIVE_BUFFER = 2 * MIB;

export interface IperfResult {
  readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
  readonly end: {
    readonly sum_sent?: { readonly bytes: number; readonly retransmits?: number };
    readonly sum_received?: { readonly bytes: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number; readonly bytes: number };
    readonly streams: readonly { readonly udp?: { readonly out_of_order: number } }[];
  };
  readonly server_output_json?: IperfResult;
  /** Why there was no test, or no end of it. The exit code may be 0 all the same: it is where the server was busy. */
  readonly error?: string;
}

/**
 * Serves in the background; resolves when clients can connect.
 *
 * When the client says that it has sent all, the server stops reading, and what its socket holds then is in no count of it: on a busy
 * machine all of a short upload. So the socket holds little (see `iperfWhole`).
 */
export async function iperfServer(namespace: Namespace, port = 5201): Promise<void> {
  await namespace.exec('sysctl', '-qw', `net.ipv4.tcp_rmem=4096 131072 ${RECEIVE_BUFFER}`);
  await namespace.start('iperf3', '--server', '--forceflush', '--port', String(port)).said(/Server listening/);
}

/** Times at which the last client of a port ended, in milliseconds. */
const lastEnds = new Map<string, number>();

/**
 * Runs a client to its end; must succeed, within a minute.
 *
 * @param options with `--time`, a slow machine moves little, or nothing, in it: where data has but to pass, `iperfWhole` is the one
 */
export async function iperf(namespace: Namespace, address: string, ...options: string[]): Promise<IperfResult> {
  const argv = ['iperf3', '--client', address, '--json', '--connect-timeout', '5000', ...options];
  const port = portOf(options);
  const begun = Date.now();
  for (;;) {
    const result = await client(namespace, argv, begun + LIMIT_MS - Date.now());
    if (result.error === undefined) {
      lastEnds.set(port, Date.now());
      return result;
    }
    if (!isBetweenClients(result.error) || Date.now() > (lastEnds.get(port) ?? 0) + BUSY_MS) {
      throw new Error(`${argv.join(' ')}: ${result.error}`);
    }
    await sleep(AGAIN_MS);
  }
}

/**
 * Moves so many MiB over TCP, however long it takes; rejects unless they arrive. Of a download iperf3 counts all of them. Of an upload
 * the server does not count what it has not read when the client has written all of it: a send buffer (4 MiB at most, tcp_wmem) and
 * what `iperfServer` leaves to its socket, less than half of what there is to move.
 *
 * @param mebibytes 16 or more a connection (`--parallel`)
 */
export async function iperfWhole(
  namespace: Namespace,
  address: string,
  mebibytes: number,
  ...options: string[]
): Promise<IperfResult> {
  const result = await iperf(namespace, address, '--bytes', `${mebibytes}M`, ...options);
  const least = (mebibytes * MIB) / (options.includes('--reverse') ? 1 : 2);
  const sent = result.end.sum_sent?.bytes ?? 0;
  const received = result.end.sum_received?.bytes ?? 0;
  if (sent < mebibytes * MIB || received < least) {
    const what = `${mebibytes} MiB to ${address} ${options.join(' ')}`;
    throw new Error(`${what}: ${sent} bytes sent, ${received} received, at least ${least} expected`);
  }
  return result;
}

/** Between two clients the server closes its listener and opens it anew, and until then it has still to do with the first. */
function isBetweenClients(error: string): boolean {
  return /the server is busy running a test/.test(error) || /unable to connect.*Connection refused/.test(error);
}

function portOf(options: readonly string[]): string {
  const at = options.findIndex((option) => option === '--port' || option === '-p');
  return at < 0 ? DEFAULT_PORT : (options[at + 1] ?? DEFAULT_PORT);
}

/** Rejects, with what its connections are about, when it has not ended after `limit` milliseconds. */
async function client(namespace: Namespace, argv: readonly string[], limit: number): Promise<IperfResult> {
  const running = namespace.start(...argv);
  let late: NodeJS.Timeout | undefined;
  const result = await Promise.race([
    running.ended,
    new Promise<null>((resolve) => {
      late = setTimeout(resolve, Math.max(limit, 0), null);
    }),
  ]);
  clearTimeout(late);
  if (result === null) return stuck(namespace, argv, running);
  return parse(result, argv);
}

async function stuck(namespace: Namespace, argv: readonly string[], running: Background): Promise<never> {
  const { stdout: sockets } = await namespace.run(['ss', '--tcp', '--udp', '--all', '--no-header', '-nio']);
  const { stdout, stderr } = await running.stop('SIGKILL');
  const what = `${argv.join(' ')}: still running after ${LIMIT_MS} ms`;
  throw new Error(`${what}; the sockets of ${namespace.name}:\n${sockets}${stdout}${stderr}`);
}

/** What the client reports. Where it says why it failed, that is in it. */
function parse(result: Result, argv: readonly string[]): IperfResult {
  try {
    const report = JSON.parse(result.stdout) as IperfResult;
    if (result.code === 0 || report.error !== undefined) return report;
  } catch {
    // Killed, or failed before it had anything to report.
  }
  throw new Error(`${argv.join(' ')}: ${describe(result)}`);
}
