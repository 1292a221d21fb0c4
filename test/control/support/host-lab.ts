/**
 * A daemon on the real host, its dataplane a double: `node host-lab.js CONFIG`, run in a network namespace of a test. It prints `ready`,
 * and a line of JSON for each change of what its router was told; SIGTERM ends it. So the host's part is tested without traffic.
 */

import { pino } from 'pino';
import { parseConfiguration } from '../../../control/config/load.js';
import { Daemon } from '../../../control/daemon.js';
import { realSystem } from '../../../control/system.js';
import { recv } from '../../../io/libc.js';
import { DataplaneDouble } from './dataplane-double.js';

const MSG_PEEK_DONTWAIT = 0x42;
/** Milliseconds between looks at what the worker would have woken up for. */
const LOOK = 5;

class LabDataplane extends DataplaneDouble {
  override watchPidfd(fd: number, callback: () => void): () => void {
    const timer = setInterval(() => {
      if (recv(fd, new Uint8Array(1), 1, MSG_PEEK_DONTWAIT) < 0) return;
      clearInterval(timer);
      callback();
    }, LOOK);
    return () => clearInterval(timer);
  }
}

function tellChanges(dataplane: LabDataplane): NodeJS.Timeout {
  let told = '';
  return setInterval(() => {
    const interfaces = [...dataplane.interfaces.values()].filter(({ kind }) => kind !== 'network');
    const routes = [...dataplane.routes.values()].map(({ prefix, hops }) => `${prefix} via ${hops[0]?.via}`);
    const text = JSON.stringify({ interfaces, routes });
    if (text !== told) process.stdout.write(`${text}\n`);
    told = text;
  }, LOOK);
}

const dataplane = new LabDataplane();
const logger = pino({ level: 'info' }, pino.destination(2));
const daemon = new Daemon({ dataplane, logger, system: realSystem, instance: '/run/lab.sock' });
await daemon.apply(parseConfiguration(process.argv[2] ?? '', 'lab'));
const timer = tellChanges(dataplane);
process.once('SIGTERM', () => {
  clearInterval(timer);
  void daemon.stop().then(() => process.exit(0));
});
process.stdout.write('ready\n');
