import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { realSystem } from '../../control/system.js';

test('a namespace is told from a file, and equal ones are equal', (t) => {
  t.true(realSystem.isNamespace('/proc/self/ns/net'));
  t.false(realSystem.isNamespace('/proc/self/status'));
  t.false(realSystem.isNamespace('/nonexistent'));
  t.is(realSystem.namespaceIdentity('/proc/self/ns/net'), realSystem.namespaceIdentity(`/proc/${process.pid}/ns/net`));
  t.not(realSystem.namespaceIdentity('/proc/self/ns/net'), realSystem.namespaceIdentity('/proc/self/ns/mnt'));
  t.is(realSystem.namespaceIdentity('/nonexistent'), null);
});

test('a pidfd tells its process, and -1 once that is gone', async (t) => {
  const child = spawn('sleep', ['60']);
  const pid = child.pid ?? -1;
  const pidfd = realSystem.openPidfd(pid);
  t.is(realSystem.pidOf(pidfd), pid);
  child.kill();
  await once(child, 'exit');
  t.is(realSystem.pidOf(pidfd), -1);
  realSystem.closeFd(pidfd);
  t.throws(() => realSystem.openPidfd(pid), { message: /^ESRCH/ });
});
