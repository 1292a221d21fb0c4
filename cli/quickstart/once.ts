/** `tapline quickstart --once`: runs the checks and prints a table that grows while they run. */

import { firstLine } from '../../control/errors.js';
import type { Context } from '../context.js';
import { printJson } from '../output.js';
import type { Check } from './checks/check.js';
import { CHECKS } from './checks/list.js';
import type { Lab } from './lab.js';

export type Outcome = 'ok' | 'info' | 'FAILED';

export interface Result {
  readonly check: string;
  readonly result: Outcome;
  readonly detail: string;
}

const NAME_WIDTH = Math.max(...CHECKS.map(({ name }) => name.length));

function line(check: string, result: string, detail: string): string {
  return `${check.padEnd(NAME_WIDTH)}  ${result.padEnd('FAILED'.length)}  ${detail}`.trimEnd();
}

async function runCheck(check: Check, lab: Lab): Promise<Result> {
  try {
    const detail = await check.run(lab);
    return { check: check.name, result: check.information === true ? 'info' : 'ok', detail };
  } catch (error) {
    // Ctrl-C is no result.
    lab.signal.throwIfAborted();
    return { check: check.name, result: 'FAILED', detail: firstLine(error) };
  }
}

/** Starts the lab and runs all checks, also when some fail. @returns the exit code: 0 where none failed, else 1 */
export async function runOnce(lab: Lab, context: Context, json: boolean): Promise<number> {
  await lab.start();
  if (!json) context.stdout.write(`${line('CHECK', 'RESULT', 'DETAIL')}\n`);
  const results: Result[] = [];
  for (const check of CHECKS) {
    const result = await runCheck(check, lab);
    results.push(result);
    if (!json) context.stdout.write(`${line(result.check, result.result, result.detail)}\n`);
  }
  const failed = results.filter(({ result }) => result === 'FAILED').length;
  if (json) printJson(context, results);
  else
    context.stdout.write(failed === 0 ? '\nall checks passed\n' : `\n${failed} of ${results.length} checks failed\n`);
  return failed === 0 ? 0 : 1;
}
