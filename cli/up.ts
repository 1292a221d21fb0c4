/** `tapline up`: the daemon in the foreground, until SIGTERM or SIGINT. */

import { type Command, Option } from 'commander';
import { type ErrorKind, TaplineError } from '../control/errors.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel, makeLogger } from '../control/logger.js';
import type { EngineChoice, RunningTapline } from '../control/up.js';
import { type Context, ExitError, socketOf, withSocket } from './context.js';

interface UpOptions {
  readonly file?: string;
  readonly engine: EngineChoice;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly keep?: boolean;
}

/** The contract: what the file says wrong or asks for in vain (a namespace, a device, a name that is taken) exits with 2. */
const EXIT_CODES: Readonly<Record<ErrorKind, number>> = { invalid: 2, missing: 2, conflict: 1, failure: 1 };

const EXAMPLES = `
Prints the one line "ready" once every network, uplink and endpoint of FILE is up. Without a file it starts with
nothing and waits for "tapline network create" and "tapline connect". Removes at exit what it made; after a crash, and
with --keep, the next one takes it over: addresses, connections and what commands made.

Examples:
  tapline up -f examples/quickstart.yaml
  tapline up -f lab.yaml --engine epoll --socket /run/lab.sock
  tapline up -f lab.yaml --keep`;

export function registerUp(program: Command, context: Context): void {
  withSocket(program.command('up'))
    .description('run the daemon in the foreground')
    .option('-f, --file <file>', 'configuration to bring up')
    .addOption(
      new Option('--engine <engine>', 'how packets cross into the kernel')
        .choices(['auto', 'uring', 'epoll'])
        .default('auto'),
    )
    .addOption(
      new Option('--log-level <level>', 'least level that is logged, on stderr').choices(LOG_LEVELS).default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'text for people, json for machines').choices(LOG_FORMATS).default('text'),
    )
    .option('--keep', 'at exit leave everything in place, connections too, for the next `tapline up` to go on with')
    .addHelpText('after', EXAMPLES)
    .action(async (options: UpOptions, command: Command) => {
      try {
        await up(options, socketOf(command, context), context);
      } catch (error) {
        throw error instanceof TaplineError ? new ExitError(EXIT_CODES[error.kind], error.message) : error;
      }
    });
}

/** A terminal that is closed ends the daemon as cleanly as Ctrl-C does: its TAPs would outlive it otherwise. */
const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Resolves at the first of STOP_SIGNALS. Later ones change nothing: a clean end is under way. */
function stopSignal(): { received: Promise<void>; ignoreFrom: () => void } {
  let resolve: () => void = () => {};
  const received = new Promise<void>((done) => {
    resolve = done;
  });
  const onSignal = (): void => resolve();
  for (const name of STOP_SIGNALS) process.on(name, onSignal);
  return {
    received,
    ignoreFrom: () => {
      for (const name of STOP_SIGNALS) process.off(name, onSignal);
    },
  };
}

async function up(options: UpOptions, socket: string, context: Context): Promise<void> {
  // Loaded here, so that commands that only talk to a daemon start without it. The thread boots while the rest is loaded.
  const { bootWorker } = await import('../control/worker-boot.js');
  const worker = bootWorker();
  const { startTapline } = await import('../control/up.js');
  const { file = null, engine, logLevel, logFormat } = options;
  const logger = makeLogger(logLevel, logFormat, (text) => context.stderr.write(text));
  const signal = stopSignal();
  try {
    const running = await startTapline({ file, engine, socket, logger, worker });
    await untilStopped(running, signal.received, options.keep === true, context);
  } finally {
    signal.ignoreFrom();
  }
}

async function untilStopped(
  running: RunningTapline,
  signal: Promise<void>,
  keep: boolean,
  context: Context,
): Promise<void> {
  let stopping = false;
  const stopped = signal.then(() => {
    stopping = true;
  });
  const ready = running.ready.catch((error: unknown) => {
    // Starting that a signal cut short has not failed.
    if (!stopping) throw error;
  });
  await Promise.race([ready, stopped]);
  if (!stopping) context.stdout.write('ready\n');
  await stopped;
  await (keep ? running.leave() : running.stop());
  await ready;
}
