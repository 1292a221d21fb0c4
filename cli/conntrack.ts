/** `tapline conntrack`: ending connections. */

import type { Command } from 'commander';
import { type Context, clientOf, usageError, wantsJson, withJson, withSocket } from './context.js';
import { type FlowOptions, flowRequest, withFlowOptions } from './flow-options.js';
import { printJson } from './output.js';

const FLUSH_HELP = `
Nobody is told: a connection that goes on is taken up again where nothing of it is translated, and ends where something was.

Examples:
  tapline conntrack flush --endpoint web --proto udp
  tapline conntrack flush --all`;

function registerFlush(conntrack: Command, context: Context): void {
  withFlowOptions(withJson(withSocket(conntrack.command('flush'))))
    .description('forget connections: those that all of the options fit')
    .option('--all', 'every connection')
    .addHelpText('after', FLUSH_HELP)
    .action(async ({ all, ...options }: FlowOptions & { all?: boolean }, command: Command) => {
      const request = flowRequest(options);
      const isSelective = Object.keys(request).length > 0;
      if (all !== true && !isSelective)
        throw usageError('expected which connections to forget, such as --endpoint a, or --all');
      if (all === true && isSelective) throw usageError('--all: expected no other options that choose connections');
      const body = all === true ? { all } : request;
      const { flushed } = await clientOf(command, context).post<{ flushed: number }>('/v1/conntrack/flush', body);
      if (wantsJson(command)) printJson(context, { flushed });
      else context.stdout.write(`${flushed} ${flushed === 1 ? 'connection' : 'connections'} forgotten\n`);
    });
}

export function registerConntrack(program: Command, context: Context): void {
  const conntrack = program.command('conntrack').description('forget connections; show conntrack lists them');
  registerFlush(conntrack, context);
}
