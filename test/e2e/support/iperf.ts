/** iperf3 between two namespaces. */

import type { Namespace } from './namespace.js';
import { describe } from './process.js';

export interface IperfResult {
  readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
  readonly end: {
    readonly sum_sent?: { readonly bytes: number; readonly retransmits?: number };
    readonly sum_received?: { readonly bytes: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number; readonly bytes: number };
    readonly streams: readonly { readonly udp?: { readonly out_of_order: number } }[];
  };
  readonly server_output_json?: IperfResult;
}

/** Serves in the background; resolves when clients can connect. */
export async function iperfServer(namespace: Namespace, port = 5201): Promise<void> {
  await namespace.start('iperf3', '--server', '--forceflush', '--port', String(port)).said(/Server listening/);
}

/** Runs a client to its end; must succeed. */
export async function iperf(namespace: Namespace, address: string, ...options: string[]): Promise<IperfResult> {
  const argv = ['iperf3', '--client', address, '--json', '--connect-timeout', '5000', ...options];
  const result = await namespace.run(argv);
  if (result.code !== 0) throw new Error(`${argv.join(' ')}: ${describe(result)}`);
  return JSON.parse(result.stdout) as IperfResult;
}
