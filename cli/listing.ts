/** What is shown once, or again and again with --watch. */

import type { Command } from 'commander';
import type { ApiClient } from './client.js';
import { type Context, clientOf, usageError, wantsJson } from './context.js';
import { printJson } from './output.js';
import { repeat } from './repeat.js';

export interface WatchOptions {
  readonly watch?: string | true;
}

export function withWatch(command: Command): Command {
  return command.option('--watch [seconds]', 'show it again every second, or as often as said, until Ctrl-C');
}

/** Seconds between two outputs; null: one output. */
function watchSeconds({ watch }: WatchOptions): number | null {
  if (watch === undefined) return null;
  const seconds = watch === true ? 1 : Number(watch);
  if (!(seconds >= 0.1 && seconds <= 3600))
    throw usageError(`--watch: expected seconds from 0.1 to 3600, got ${JSON.stringify(watch)}`);
  return seconds;
}

/** Once, or again and again; with --watch and --json a line of JSON each time. */
export async function showListing<T>(
  command: Command,
  context: Context,
  options: WatchOptions,
  ask: (client: ApiClient) => Promise<T>,
  format: (value: T) => string,
): Promise<void> {
  const client = clientOf(command, context);
  const seconds = watchSeconds(options);
  const json = wantsJson(command);
  if (seconds !== null) {
    return repeat(context, seconds, async () => {
      const value = await ask(client);
      return json ? `${JSON.stringify(value)}\n` : format(value);
    });
  }
  const value = await ask(client);
  if (json) printJson(context, value);
  else context.stdout.write(format(value));
}
