/** The command line of `npm run bench:e2e`. */

import { parseArgs } from 'node:util';
import { DEFAULT_PEERS, GUARD_PEERS, type Options, PEER_NAMES, type PeerName } from './context.js';
import { ENDPOINTS_MAX } from './scenarios/endpoints.js';

export const USAGE = `usage: npm run bench:e2e -- l2 [options]

  --rounds N          measurements of each peer and scenario (default 5)
  --seconds S         length of one measurement (default 3)
  --engine NAME       Tapline's engine: uring or epoll (default: Tapline's own choice)
  --only NAME         run this scenario alone; may be repeated
  --peer NAME         use this peer alone; may be repeated: ${PEER_NAMES.join(', ')}
  --guards            what the bridge's guards cost: Tapline with every one on beside all off, and no other peers
  --endpoints N       endpoints of the scenario "endpoints" (default 500)
  --json              print the result as JSON on stdout; progress stays on stderr
  --help              print this`;

/** A mistake in the command line: one line, and exit code 2. */
export class UsageError extends Error {}

/** Gives null when help was asked for. `scenarios` are the names that --only takes. Throws a UsageError. */
export function parseOptions(argv: readonly string[], scenarios: readonly string[]): Options | null {
  const { values, positionals } = parse(argv);
  if (values.help === true) return null;
  if (positionals.length !== 1 || positionals[0] !== 'l2') {
    throw new UsageError(
      `expected the suite "l2", got ${positionals.length === 0 ? 'none' : `"${positionals.join(' ')}"`}`,
    );
  }
  return {
    rounds: wholeNumber('--rounds', values.rounds, 5, 1000),
    seconds: wholeNumber('--seconds', values.seconds, 3, 3600),
    engine: values.engine === undefined ? undefined : oneOf('--engine', values.engine, ['uring', 'epoll'] as const),
    only: (values.only ?? []).map((name) => oneOf('--only', name, scenarios)),
    peers: peersOf(values.peer, values.guards === true),
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
