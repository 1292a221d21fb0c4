/** The command tree. A command is one file that exports `register...(program, context)` and one line in COMMANDS. */

import { Command, CommanderError } from 'commander';
import { firstLine, TaplineError } from '../control/errors.js';
import { VERSION } from '../control/version.js';
import { registerCapture } from './capture.js';
import { complete, registerCompletion } from './completion.js';
import { registerConnect } from './connect.js';
import { registerConntrack } from './conntrack.js';
import { type Context, ExitError } from './context.js';
import { registerDisconnect } from './disconnect.js';
import { registerEvents } from './events.js';
import { registerFdb } from './fdb.js';
import { registerMirror } from './mirror.js';
import { registerNeigh } from './neigh.js';
import { registerNetwork } from './network.js';
import { registerPolicy } from './policy.js';
import { registerPublish, registerUnpublish } from './publish.js';
import { registerQuickstart } from './quickstart.js';
import { registerRoute } from './route.js';
import { registerRun } from './run.js';
import { registerService } from './service.js';
import { registerShow } from './show.js';
import { registerStatus } from './status.js';
import { registerUp } from './up.js';
import { registerVxlan } from './vxlan.js';

/** In the order in which `--help` lists them. */
const COMMANDS: readonly ((program: Command, context: Context) => void)[] = [
  registerQuickstart,
  registerUp,
  registerStatus,
  registerNetwork,
  registerConnect,
  registerDisconnect,
  registerPublish,
  registerUnpublish,
  registerService,
  registerRun,
  registerShow,
  registerRoute,
  registerFdb,
  registerNeigh,
  registerVxlan,
  registerConntrack,
  registerMirror,
  registerPolicy,
  registerEvents,
  registerCapture,
  registerCompletion,
];

const EXAMPLES = `
Examples:
  tapline up -f examples/quickstart.yaml
  tapline run --network blue -- bash
  tapline connect blue c1            (a container started with --network none)
  tapline capture blue | tcpdump -nr -

Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.`;

export function buildProgram(context: Context): Command {
  const program = new Command('tapline')
    .description('A virtual switch and router for containers, wholly in user space')
    .version(VERSION, '-V, --version')
    .option('--socket <path>', 'control socket of the daemon (TAPLINE_SOCKET)')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: (text, write) => write(`tapline: ${oneLine(text)}\n`),
    })
    .addHelpText('after', EXAMPLES);
  for (const register of COMMANDS) register(program, context);
  return program;
}

/** Commander's errors begin with `error: ` and may put a suggestion on a line of its own. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replaceAll('\n', ' ');
}

function exitCodeOf(error: unknown): number {
  if (error instanceof ExitError) return error.exitCode;
  return error instanceof TaplineError && error.kind === 'invalid' ? 2 : 1;
}

/**
 * Runs one command line.
 *
 * @param args without the program's name
 * @returns the exit code: 0 success, 1 failure, 2 wrong usage; the command's own for `run`
 */
export async function runCli(args: readonly string[], context: Context): Promise<number> {
  const program = buildProgram(context);
  if (args[0] === '__complete') {
    for (const candidate of await complete(program, args.slice(1), context)) context.stdout.write(`${candidate}\n`);
    return 0;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return context.exitCode;
  } catch (error) {
    // Commander has said what it had to say; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    context.stderr.write(`tapline: ${firstLine(error)}\n`);
    return exitCodeOf(error);
  }
}
