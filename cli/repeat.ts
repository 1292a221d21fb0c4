/** Commands that go on until Ctrl-C. */

import type { Context } from './context.js';

/** Before the next output on a terminal: everything cleared, and back to the first line (ECMA-48: CUP, ED). */
const CLEAR = '\x1b[H\x1b[2J';

/**
 * Writes what `show` gives, again and again, until Ctrl-C, SIGTERM, or the reader of our output goes. A terminal shows the last one only.
 *
 * @param seconds between two
 */
export async function repeat(context: Context, seconds: number, show: () => Promise<string>): Promise<void> {
  const { stdout } = context;
  const ended = new AbortController();
  const end = (): void => ended.abort();
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, end);
  stdout.on('error', end);
  try {
    while (!ended.signal.aborted) {
      const text = await show();
      stdout.write(stdout.isTTY === true ? `${CLEAR}${text}` : text);
      await pause(seconds * 1000, ended.signal);
    }
  } finally {
    for (const signal of signals) process.off(signal, end);
    stdout.off('error', end);
  }
}

function pause(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    ended.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
