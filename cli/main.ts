/** Entry point of the `tapline` command. */

import { runCli } from './program.js';

/** A reader that has seen enough (`tapline show fdb | head`) is no failure, and no reason for a stack trace. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

const { stdout, stderr, env } = process;
process.exitCode = await runCli(process.argv.slice(2), { stdout, stderr, env, exitCode: 0 });
