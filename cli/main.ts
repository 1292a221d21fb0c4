/** Entry point of the `tapline` command, called by bin/tapline.js. */

import { buildProgram, runCli } from './program.js';

export async function main(): Promise<void> {
  const { stdout, stderr, env } = process;
  // A reader that has seen enough (`tapline show fdb | head`) is no failure, and no reason for a stack trace.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  process.exitCode = await runCli(process.argv.slice(2), { stdout, stderr, env, exitCode: 0 });
}

const CONFIGURATION = `
version: 1
uplink: { device: up0, mode: own, addresses: [10.77.0.1/24], gateway: 10.77.0.254 }
networks: { blue: { subnets: [172.30.0.0/24, "fd00:30::/64"] } }
endpoints: { a: { network: blue, netns: /run/netns/a, addresses: [172.30.0.2] } }
`;

/** Loads what a daemon loads at its start, and reads a configuration: so that all of it is compiled (scripts/bundle.mjs). */
export async function warmUp(): Promise<void> {
  const { stdout, stderr, env } = process;
  buildProgram({ stdout, stderr, env, exitCode: 0 });
  await import('../control/up.js');
  await import('../control/api.js');
  const { parseConfiguration } = await import('../control/config/load.js');
  parseConfiguration(CONFIGURATION, 'warm-up');
}
