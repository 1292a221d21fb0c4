/** What the quickstart needs of the machine, looked at before anything is made, so that the answer is one clear line. */

import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { TaplineError } from '../../control/errors.js';

/** Bits of CapEff (linux/capability.h). */
const CAPABILITIES: readonly (readonly [string, number])[] = [
  ['CAP_NET_ADMIN', 12],
  ['CAP_NET_RAW', 13],
  ['CAP_SYS_ADMIN', 21],
];

/** Programs by their Debian package. */
const PROGRAMS: readonly (readonly [string, string])[] = [
  ['ip', 'iproute2'],
  ['ping', 'iputils-ping'],
  ['nsenter', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['unshare', 'util-linux'],
];

export interface Machine {
  readonly uid: number;
  /** The line `CapEff:` of /proc/self/status. */
  readonly capabilities: bigint;
  readonly hasTun: boolean;
  readonly hasProgram: (name: string) => boolean;
}

function hasProgram(name: string, path: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function thisMachine(env: NodeJS.ProcessEnv): Machine {
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    uid: process.getuid?.() ?? -1,
    capabilities: BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`),
    hasTun: existsSync('/dev/net/tun'),
    hasProgram: (name) => hasProgram(name, env.PATH ?? ''),
  };
}

/** The first thing that is missing, with its remedy; null where nothing is. */
export function missingRequirement(machine: Machine): string | null {
  if (machine.uid !== 0) return 'the quickstart makes network namespaces and needs root; run it with sudo';
  const capability = CAPABILITIES.find(([, bit]) => ((machine.capabilities >> BigInt(bit)) & 1n) === 0n);
  if (capability !== undefined) {
    return `the quickstart needs ${capability[0]}; in a container, start that one with --privileged`;
  }
  if (!machine.hasTun) {
    return 'no /dev/net/tun: load the tun module (modprobe tun), or give this container the device (--device /dev/net/tun)';
  }
  const program = PROGRAMS.find(([name]) => !machine.hasProgram(name));
  return program === undefined ? null : `no program ${program[0]}; install ${program[1]}`;
}

/** @throws TaplineError `failure` */
export function requireMachine(env: NodeJS.ProcessEnv): void {
  const line = missingRequirement(thisMachine(env));
  if (line !== null) throw new TaplineError('failure', line);
}
