/** `tapline disconnect`: takes an endpoint out of its network again. */

import type { Command } from 'commander';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { removeEach } from './output.js';

export function endpointPath(name: string): string {
  return `/v1/endpoints/${encodeURIComponent(name)}`;
}

export function registerDisconnect(program: Command, context: Context): void {
  withJson(withSocket(program.command('disconnect')))
    .argument('<endpoint...>')
    .description('detach endpoints')
    .addHelpText('after', '\nExample:\n  tapline disconnect c1')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const client = clientOf(command, context);
      await removeEach(names, (name) => client.delete(endpointPath(name)), wantsJson(command), context);
    });
}
