/**
 * The thread that checks servers from inside their networks: it has a network namespace of its own, where the main thread puts a TAP for
 * each network, and the sockets of its event loop are there. It ends with the process, and the namespace with it.
 */

import { parentPort } from 'node:worker_threads';
import { enterOwnNamespace } from '../../io/netns.js';
import type { Order, Report } from './messages.js';
import { probe } from './probe.js';
import { Rounds, realClock } from './rounds.js';

const parent = parentPort;
if (parent === null) throw new Error('health/thread is to be started as a worker thread');

const tell = (report: Report): void => parent.postMessage(report);
const netns = enterOwnNamespace();
const rounds = new Rounds({ clock: realClock, probe, report: (result) => tell({ kind: 'result', ...result }) });
parent.on('message', (order: Order) => rounds.obey(order));
tell({ kind: 'inside', netns });
