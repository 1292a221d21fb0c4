/** The last checks take everything down in steps and look, after each, whether what belonged to it is gone. */

import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../lab.js';
import { type Inhabitant, runIn } from '../nsenter.js';

interface Link {
  readonly ifname: string;
}

/** A namespace that nobody is in any more is taken apart a moment later, and with it the devices that were in it. */
const POLL_MS = 20;
const PATIENCE_MS = 5000;

async function linksIn(where: Inhabitant, signal: AbortSignal): Promise<string[]> {
  const links = JSON.parse(await runIn(where, ['ip', '-json', 'link'], signal)) as Link[];
  return links.map(({ ifname }) => ifname).filter((name) => name !== 'lo');
}

/** The other ends of the wires go with the daemons' namespaces. */
async function wiresRemoved(lab: Lab): Promise<void> {
  let left: string[] = [];
  for (let waited = 0; waited < PATIENCE_MS; waited += POLL_MS) {
    left = await linksIn(lab.outside, lab.signal);
    if (left.length === 0) return;
    await sleep(POLL_MS, undefined, { signal: lab.signal });
  }
  const what = `${left.join(', ')} still in the host outside`;
  throw new Error(`${what} ${PATIENCE_MS / 1000} s after the switches have ended`);
}

/** The daemons have ended, the containers and the host outside have not: in each there is only `lo` left. */
export async function devicesRemoved(lab: Lab): Promise<string> {
  await lab.stopDaemons();
  for (const { daemon } of [lab.first, lab.second]) {
    const how = await daemon.ended;
    if (how !== 'exit code 0') throw new Error(daemon.endLine(how));
  }
  for (const endpoint of lab.endpoints) {
    const left = await linksIn(endpoint, lab.signal);
    if (left.length > 0) throw new Error(`${left.join(', ')} still in ${endpoint.name}`);
  }
  await wiresRemoved(lab);
  const names = [...new Set(lab.endpoints.map((endpoint) => endpoint.interface))].join(', ');
  return `no ${names} left in ${lab.endpoints.length} containers and outside, both switches ended by themselves`;
}

function sameNamespace(path: string, inode: number): boolean {
  try {
    return statSync(path).ino === inode;
  } catch {
    // A process that ended since its folder was listed.
    return false;
  }
}

/** Who still is in the namespace, or keeps it under a name. */
function users(inode: number): string[] {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && sameNamespace(`/proc/${name}/ns/net`, inode))
    .map((pid) => `process ${pid}`);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` net:[${inode}] `))
    .map((line) => `mount ${line.split(' ')[4]}`);
  return [...processes, ...mounts];
}

/** Once the containers have ended, nobody is in their namespaces any more, so the kernel has removed them. */
export async function namespacesRemoved(lab: Lab): Promise<string> {
  // An open descriptor keeps each number from being given to somebody else's new namespace while we look.
  const all = [...lab.endpoints, { name: 'the host outside', pid: lab.outside.pid }];
  const open = all.map(({ name, pid }) => ({ name, fd: openSync(`/proc/${pid}/ns/net`, 'r') }));
  try {
    await lab.stopHosts();
    for (const { name, fd } of open) {
      const left = users(fstatSync(fd).ino);
      if (left.length > 0) throw new Error(`namespace of ${name} is still used by ${left.join(', ')}`);
    }
  } finally {
    for (const { fd } of open) closeSync(fd);
  }
  return `${open.length} network namespaces without a user`;
}

/** The daemons remove their sockets themselves, so that only the empty folder is ours to remove. */
export async function filesRemoved(lab: Lab): Promise<string> {
  const left = readdirSync(lab.directory);
  if (left.length > 0) throw new Error(`${left.join(', ')} still in ${lab.directory}`);
  lab.removeDirectory();
  if (existsSync(lab.directory)) throw new Error(`${lab.directory} is still there`);
  return `${lab.first.socket}, ${lab.second.socket} and their folder`;
}
