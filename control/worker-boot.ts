/** The start of a dataplane's thread, which needs no more than this file: it boots beside all that the main thread has to load first. */

import { Worker } from 'node:worker_threads';
import { applyV8Flags } from './v8-flags.js';

/** The bundled worker (scripts/bundle.mjs). */
const WORKER = new URL('../bundle/worker.js', import.meta.url);

/** A thread that waits for its WorkerSetup as a message. Keeps no process alive before it is given one. */
export function bootWorker(): Worker {
  applyV8Flags();
  const worker = new Worker(WORKER, { name: 'dataplane' });
  worker.unref();
  return worker;
}
