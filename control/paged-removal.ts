/** Connections that go by command. The table is looked through in pages, between which packets pass. */

import type { FlushPage } from './worker-protocol.js';

/** No worker is there to do what was asked for. */
export class NoWorkerError extends Error {}

/** Entries of the table that are looked at while packets wait: about a millisecond. */
const PAGE = 4096;

/**
 * Flows outlive a worker: what one that died has not ended, its successor does.
 *
 * @param removePage asks a worker for one page; rejects with NoWorkerError where there is none
 * @param replaced settles once a worker runs: true where it is another than before; false where none will
 * @returns how many there were
 */
export async function removeInPages(
  removePage: (from: number, limit: number) => Promise<FlushPage>,
  replaced: () => Promise<boolean>,
): Promise<number> {
  for (;;) {
    try {
      return await removeAll(removePage);
    } catch (error) {
      if (!(error instanceof NoWorkerError) || !(await replaced())) throw error;
    }
  }
}

async function removeAll(removePage: (from: number, limit: number) => Promise<FlushPage>): Promise<number> {
  let count = 0;
  for (let from = 0; from >= 0; ) {
    const { removed, next } = await removePage(from, PAGE);
    count += removed;
    from = next;
  }
  return count;
}
