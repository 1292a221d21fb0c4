/** DNS over UDP and TCP: dnsmasq that knows one name, and dig that asks for it. */

import type { Namespace } from './namespace.js';
import type { Background } from './process.js';
import { eventually } from './wait.js';

const NAME = 'who.test';

/** Answers with an address by which it is told from others. */
export async function answerNames(where: Namespace, address: string): Promise<Background> {
  const quiet = ['--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--pid-file=', '--user=root'];
  const server = where.start('dnsmasq', '--keep-in-foreground', ...quiet, `--address=/${NAME}/${address}`);
  await eventually('dnsmasq to listen', async () => {
    if (!server.running()) throw new Error(`dnsmasq: ${server.stderr()}`);
    return (await where.exec('ss', '-Hlun', 'sport', '=', ':53')) !== '';
  });
  return server;
}

/** Asks once. @returns the address, or what dig says where nobody answers */
export async function digName(from: Namespace, server: string, ...options: string[]): Promise<string> {
  const { stdout } = await from.run(['dig', '+short', '+tries=1', '+time=2', ...options, `@${server}`, NAME, 'A']);
  return stdout.trim();
}
