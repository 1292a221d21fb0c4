/** Waiting for things that happen soon, with a reason in the message when they do not. */

const STEP = 25;
/** Much longer than anything takes, also on a busy machine: only a failing test waits for so long. */
const DEFAULT_TIMEOUT = 30_000;

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Asks `probe` again and again until its answer is true.
 *
 * @param what for the message, as in "port a to go"
 */
export async function eventually(
  what: string,
  probe: () => boolean | Promise<boolean>,
  timeout = DEFAULT_TIMEOUT,
): Promise<void> {
  const end = Date.now() + timeout;
  while (!(await probe())) {
    if (Date.now() > end) throw new Error(`waited ${timeout} ms in vain for ${what}`);
    await sleep(STEP);
  }
}

/** Reads `value` until two readings in a row, `pause` milliseconds apart, are equal. Resolves to that value. */
export async function settled<T>(what: string, value: () => Promise<T>, pause = 200): Promise<T> {
  let before = await value();
  let result = before;
  await eventually(`${what} to settle`, async () => {
    await sleep(pause);
    before = result;
    result = await value();
    return JSON.stringify(before) === JSON.stringify(result);
  });
  return result;
}
