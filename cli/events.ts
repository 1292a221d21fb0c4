/** `tapline events`: MACs that move, loops, quarantines: what happened in the dataplane, and, if wanted, what happens. */

import type { IncomingMessage } from 'node:http';
import type { Command } from 'commander';
import { TaplineError } from '../control/errors.js';
import type { EventView } from '../control/events.js';
import type { ApiClient } from './client.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { printJson } from './output.js';

function textLine({ time, kind, text }: EventView): string {
  return `${time} ${kind} ${text}\n`;
}

/** Whole lines; throws when the stream is cut off. */
async function* linesOf(incoming: IncomingMessage): AsyncGenerator<string> {
  incoming.setEncoding('utf8');
  let rest = '';
  for await (const chunk of incoming) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

/** Copies until the daemon ends, the reader of our output goes, or Ctrl-C. @throws TaplineError when the daemon died */
async function follow(client: ApiClient, json: boolean, context: Context): Promise<void> {
  const incoming: IncomingMessage = await client.stream('/v1/events', { follow: true });
  let wanted = true;
  const end = (): void => {
    wanted = false;
    incoming.destroy();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, end);
  context.stdout.on('error', end);
  try {
    for await (const line of linesOf(incoming)) {
      context.stdout.write(json ? `${line}\n` : textLine(JSON.parse(line) as EventView));
    }
  } catch {
    // A stream that was cut off; what that means is said below.
  } finally {
    for (const signal of signals) process.off(signal, end);
    context.stdout.off('error', end);
  }
  if (wanted && !incoming.complete) throw new TaplineError('failure', 'the daemon went away');
}

export function registerEvents(program: Command, context: Context): void {
  withJson(withSocket(program.command('events')))
    .description('show what happened: MACs that moved, loops, quarantines')
    .option('--follow', 'go on with what happens, until Ctrl-C; with --json a line an event')
    .action(async ({ follow: goOn }: { follow?: boolean }, command: Command) => {
      const client = clientOf(command, context);
      const json = wantsJson(command);
      if (goOn === true) return follow(client, json, context);
      const events = await client.get<EventView[]>('/v1/events');
      if (json) printJson(context, events);
      else for (const event of events) context.stdout.write(textLine(event));
    });
}
