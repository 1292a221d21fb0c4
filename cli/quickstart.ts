/** `tapline quickstart`: a switch with containers in it, to look at or to check, without anything to install or to write. */

import { type Command, Option } from 'commander';
import { firstLine } from '../control/errors.js';
import { type Context, ExitError, usageError, wantsJson, withJson } from './context.js';
import type { Lab } from './quickstart/lab.js';

interface QuickstartOptions {
  readonly once?: boolean;
  readonly live?: boolean;
  readonly engine: string;
}

const EXAMPLES = `
It brings up examples/lab.yaml and, as a second host, examples/lab-second.yaml, each by a daemon of its own on a private socket
and in a namespace of its own, so they never meet another Tapline; makes a host outside, at the other end of the uplinks' wires;
and starts containers by "tapline run", in a network over both hosts too. On a terminal it shows them and their traffic until Ctrl-C; with --once, or where stdout is no terminal, it
runs its checks and prints the results. Either way it removes everything.

Examples:
  tapline quickstart
  tapline quickstart --once
  tapline quickstart --once --engine epoll --json`;

/** Signals that end the quickstart. Further ones change nothing: the clean end is under way. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function withSignals<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = (name: NodeJS.Signals): void => controller.abort(new Error(`interrupted by ${name}`));
  for (const name of SIGNALS) process.on(name, abort);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, abort);
  }
}

function isOnce(options: QuickstartOptions, json: boolean, context: Context): boolean {
  if (options.live === true && (options.once === true || json)) {
    throw usageError('--live shows traffic until Ctrl-C; leave out --once and --json, or --live');
  }
  return options.live !== true && (options.once === true || json || context.stdout.isTTY !== true);
}

async function quickstart(options: QuickstartOptions, json: boolean, context: Context): Promise<void> {
  const once = isOnce(options, json, context);
  // Loaded here, so that other commands start without it.
  const { requireMachine } = await import('./quickstart/requirements.js');
  requireMachine(context.env);
  await withSignals(async (signal) => {
    const { Lab } = await import('./quickstart/lab.js');
    const lab = new Lab({ engine: options.engine, signal });
    await thenStop(lab, async () => {
      if (once) context.exitCode = await (await import('./quickstart/once.js')).runOnce(lab, context, json);
      else await (await import('./quickstart/live.js')).runLive(lab, context);
    }).catch((error: unknown) => {
      if (!signal.aborted || error !== signal.reason) throw error;
      // The way to end the live view; the checks, though, have not all been run.
      if (once) throw new ExitError(1, `${firstLine(error)}; everything is removed`);
      context.stdout.write('\neverything is removed\n');
    });
  });
}

/** Does the work and stops the lab, whatever happens. Of two errors the work's is the one that explains. */
async function thenStop(lab: Lab, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (lab.signal.aborted) {
      await lab.stop();
      throw lab.signal.reason;
    }
    await lab.stop().catch(() => undefined);
    throw error;
  }
  await lab.stop();
}

export function registerQuickstart(program: Command, context: Context): void {
  withJson(program.command('quickstart'))
    .description('show switches with containers at work, or check that it works here')
    .option('--once', 'run the checks, print their results, end with 0 or 1')
    .option('--live', 'show traffic until Ctrl-C, also where stdout is no terminal')
    .addOption(
      new Option('--engine <engine>', 'how packets cross into the kernel')
        .choices(['auto', 'uring', 'epoll'])
        .default('auto'),
    )
    .addHelpText('after', EXAMPLES)
    .action(async (options: QuickstartOptions, command: Command) => {
      await quickstart(options, wantsJson(command), context);
    });
}
