/** The main thread's handle on a thread that checks servers (thread.ts). */

import { Worker } from 'node:worker_threads';
import { firstLine } from '../errors.js';
import type { Order, Report, Result } from './messages.js';

/** The bundled thread (scripts/bundle.mjs). */
const THREAD = new URL('../../bundle/health.js', import.meta.url);
/** MiB. It holds a few hundred sockets at most. */
const HEAP_LIMIT = 64;

export interface CheckThread {
  /** Path of its namespace. */
  readonly netns: string;
  order(order: Order): void;
  /** Ends it, and its namespace as soon as the descriptors of devices in there are closed. */
  stop(): Promise<void>;
}

export interface CheckThreadListener {
  result(result: Result): void;
  /** It has ended without having been asked to. Once, and only after it was there. */
  ended(why: string): void;
}

/** @throws Error, one line, where it cannot be started, or gets no namespace */
export function startCheckThread(listener: CheckThreadListener): Promise<CheckThread> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(THREAD, { name: 'health', resourceLimits: { maxOldGenerationSizeMb: HEAP_LIMIT } });
    worker.unref();
    let isThere = false;
    let isOver = false;
    const over = (why: string): void => {
      if (isOver) return;
      isOver = true;
      if (isThere) listener.ended(why);
      else reject(new Error(`the thread of health checks ended: ${why}`));
    };
    const stop = async (): Promise<void> => {
      isOver = true;
      await worker.terminate();
    };
    worker.on('message', (report: Report) => {
      if (isOver) return;
      if (report.kind === 'result') {
        listener.result(report);
        return;
      }
      isThere = true;
      resolve({ netns: report.netns, order: (order) => worker.postMessage(order), stop });
    });
    worker.on('error', (error) => over(firstLine(error)));
    worker.on('exit', (code) => over(`exit code ${code}`));
  });
}
