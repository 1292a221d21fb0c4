/** The command line of `npm run bench:e2e`. */

import { parseArgs } from 'node:util';
import {
  DEFAULT_PEERS,
  GUARD_PEERS,
  type Options,
  PEER_NAMES,
  type PeerName,
  SUITE_NAMES,
  type SuiteName,
} from './context.js';
import { ENDPOINTS_MAX } from './scenarios/endpoints.js';

export const USAGE = `usage: npm run bench:e2e -- SUITE... [options]

  l2                  inside one network: Tapline's bridge beside the kernel's and a relay in C
  route               from network to network: Tapline's router beside the kernel's
  uplink              between a network and the wire, both directions, without NAT, beside the kernel's router
  nat                 from a network to the wire behind one address, beside the kernel's masquerading and a relay without NAT
  publish             from the wire to published ports, beside the kernel's DNAT and a relay without NAT
  lb                  from the wire to a service over two containers, beside the kernel's DNAT in turn, haproxy and nginx
  vxlan               from host to host in a VXLAN tunnel, beside the kernel's bridge and vxlan device, and together with it

  --rounds N          measurements of each peer and scenario (default 5)
  --seconds S         length of one measurement (default 3)
  --engine NAME       Tapline's engine: uring or epoll (default: Tapline's own choice)
  --only NAME         run this scenario alone, in every suite that has it; may be repeated
  --peer NAME         use this peer alone; may be repeated: ${PEER_NAMES.join(', ')}
  --guards            l2: what the bridge's guards cost: Tapline with every one on beside all off, and no other peers
  --endpoints N       l2: endpoints of the scenario "endpoints" (default 500)
  --json              print the result as JSON on stdout; progress stays on stderr
  --help              print this`;

/** A mistake in the command line: one line, and exit code 2. */
export class UsageError extends Error {}

/** Gives null when help was asked for. `parts` are the names that --only takes, by suite. Throws a UsageError. */
export function parseOptions(
  argv: readonly string[],
  parts: Readonly<Record<SuiteName, readonly string[]>>,
): Options | null {
  const { values, positionals } = parse(argv);
  if (values.help === true) return null;
  const suites = suitesOf(positionals);
  const choices = [...new Set(suites.flatMap((suite) => parts[suite]))];
  const guards = values.guards === true;
  if (!suites.includes('l2')) {
    if (guards) throw new UsageError('--guards: expected the suite l2, whose peers it chooses');
    if (values.endpoints !== undefined)
      throw new UsageError('--endpoints: expected the suite l2, whose scenario it is of');
  }
  return {
    suites,
    rounds: wholeNumber('--rounds', values.rounds, 5, 1000),
    seconds: wholeNumber('--seconds', values.seconds, 3, 3600),
    engine: values.engine === undefined ? undefined : oneOf('--engine', values.engine, ['uring', 'epoll'] as const),
    only: (values.only ?? []).map((name) => oneOf('--only', name, choices)),
    peers: peersOf(values.peer, guards),
    endpoints: wholeNumber('--endpoints', values.endpoints, 500, ENDPOINTS_MAX),
    json: values.json === true,
  };
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  const list = { type: 'string', multiple: true } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        rounds: text,
        seconds: text,
        engine: text,
        only: list,
        peer: list,
        endpoints: text,
        guards: flag,
        json: flag,
        help: flag,
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Each once, in the order given. */
function suitesOf(names: readonly string[]): SuiteName[] {
  if (names.length === 0) throw new UsageError(`expected a suite or several, of ${SUITE_NAMES.join(', ')}; got none`);
  return [...new Set(names.map((name) => oneOf('suite', name, SUITE_NAMES)))];
}

/** In the order of PEER_NAMES, whatever the order of the options. */
function peersOf(names: readonly string[] | undefined, guards: boolean): readonly PeerName[] {
  if (names === undefined) return guards ? GUARD_PEERS : DEFAULT_PEERS;
  const chosen = names.map((name) => oneOf('--peer', name, PEER_NAMES));
  return PEER_NAMES.filter((peer) => chosen.includes(peer));
}

function wholeNumber(option: string, text: string | undefined, fallback: number, max: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > max) {
    throw new UsageError(`${option}: expected a whole number from 1 to ${max}, got "${text}"`);
  }
  return value;
}

function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new UsageError(`${option}: expected one of ${choices.join(', ')}; got "${text}"`);
  return found;
}
