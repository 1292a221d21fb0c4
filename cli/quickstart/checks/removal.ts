/** The last checks take everything down in steps and look, after each, whether what belonged to it is gone. */

import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import type { Lab } from '../lab.js';
import { runIn } from '../nsenter.js';

interface Link {
  readonly ifname: string;
}

/** The daemon has ended, the containers have not: in each there is only `lo` left. */
export async function devicesRemoved(lab: Lab): Promise<string> {
  await lab.stopDaemon();
  const how = await lab.daemon.ended;
  if (how !== 'exit code 0') throw new Error(lab.daemon.endLine(how));
  for (const endpoint of lab.endpoints) {
    const links = JSON.parse(await runIn(endpoint, ['ip', '-json', 'link'], lab.signal)) as Link[];
    const left = links.map(({ ifname }) => ifname).filter((name) => name !== 'lo');
    if (left.length > 0) throw new Error(`${left.join(', ')} still in ${endpoint.name}`);
  }
  const names = [...new Set(lab.endpoints.map((endpoint) => endpoint.interface))].join(', ');
  return `no ${names} left in ${lab.endpoints.length} containers, the switch ended by itself`;
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
  const open = lab.endpoints.map(({ name, pid }) => ({ name, fd: openSync(`/proc/${pid}/ns/net`, 'r') }));
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

/** The daemon removes its socket itself, so that only the empty folder is ours to remove. */
export async function filesRemoved(lab: Lab): Promise<string> {
  const left = readdirSync(lab.directory);
  if (left.length > 0) throw new Error(`${left.join(', ')} still in ${lab.directory}`);
  lab.removeDirectory();
  if (existsSync(lab.directory)) throw new Error(`${lab.directory} is still there`);
  return `${lab.socket} and its folder`;
}
