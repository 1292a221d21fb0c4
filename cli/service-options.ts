/** Options of `tapline service create` and `update`, and what they ask of the API. What is wrong with a value the schema says. */

import { type Command, Option } from 'commander';
import { collect, numeric, usageError } from './context.js';

export interface ServiceOptions {
  readonly listen?: string[];
  readonly backend?: string[];
  readonly scheduler?: string;
  readonly affinity?: string;
  readonly direct?: boolean;
  readonly health?: string;
  readonly healthHost?: string;
  readonly healthStatus?: string;
  readonly healthBody?: string;
  readonly healthInterval?: string;
  readonly healthTimeout?: string;
  readonly healthRise?: string;
  readonly healthFall?: string;
  readonly passiveFailures?: string;
  readonly passiveTime?: string;
  readonly tableSize?: string;
  readonly drainTimeout?: string;
  readonly floodRate?: string;
}

const SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'sh', 'maglev'];

/** Schedulers and health, in help texts. */
export const SERVICE_HELP = `
LISTEN is [ADDRESS:]PORTS[/PROTOCOL], IPv6 addresses in brackets, tcp unless udp is said: an address of the uplink, none for
all of them, or an address of the network's subnets that nobody else has, which is then the service's own (a virtual IP).
BACKEND is ENDPOINT:PORT[:WEIGHT]; behind a range of ports, PORT is that of its first one. Weight 0 drains: no new connections.

Schedulers: rr (in turn), wrr (in turn, by weight), lc (fewest connections), wlc (fewest, by weight), sh (by the client's address),
maglev (by the client's address and port; few connections move where backends change).

HEALTH is tcp (it connects), http or https (it answers): TYPE[://[HOST][:PORT][/PATH]]. Checks come from inside the network.`;

/** What `create` and `update` have in common. */
export function withServiceOptions(command: Command): Command {
  return command
    .option('--listen <listen>', 'address and port such as 10.77.0.1:8080/tcp or 172.30.0.100:80 (repeatable)', collect)
    .option(
      '--backend <backend>',
      'endpoint, port, and weight where wanted, such as a:80 or b:80:2 (repeatable)',
      collect,
    )
    .addOption(new Option('--scheduler <scheduler>', 'which backend is next (default: rr)').choices(SCHEDULERS))
    .option('--affinity <seconds>', 'how long a client keeps its backend; 0: it does not (default: 0)')
    .option('--direct', 'answers go from backends straight to clients; backends have the service address too')
    .option('--health <health>', 'check such as tcp, http://:8080/health or https (default: none)')
    .option('--health-host <host>', 'Host header of the check')
    .option('--health-status <status>', 'answers that are well, such as 200 or 200-399 (default: 200-399)')
    .option('--health-body <text>', 'text that the answer must have in it')
    .option('--health-interval <seconds>', 'between two checks (default: 2)')
    .option('--health-timeout <seconds>', 'until a check has failed (default: 2)')
    .option('--health-rise <checks>', 'passed in a row until it is up again (default: 2)')
    .option('--health-fall <checks>', 'failed in a row until it is down (default: 3)')
    .option(
      '--passive-failures <number>',
      'connections in a row that fail until others get the next; 0: never (default: 3)',
    )
    .option('--passive-time <seconds>', 'how long they do (default: 10)')
    .option(
      '--drain-timeout <seconds>',
      'until connections of weight 0 are ended; 0: they end by themselves (default: 0)',
    )
    .option('--flood-rate <rate>', 'new connections a second above which none are noted; 0: no such (default: 100000)')
    .option('--table-size <entries>', 'of sh and maglev, a prime number (default: 65537)');
}

/** The part of a request that follows from these options: only what the user gave, so that defaults stay in one place. */
export function serviceBody(options: ServiceOptions): Record<string, unknown> {
  const { listen, backend, scheduler, direct } = options;
  const health = healthBody(options);
  const passive = numbers({ failures: options.passiveFailures, time: options.passiveTime });
  return {
    ...(listen === undefined ? {} : { listen }),
    ...(backend === undefined ? {} : { backends: backend.map((text) => readBackend('--backend', text)) }),
    ...(scheduler === undefined ? {} : { scheduler }),
    ...(direct === undefined ? {} : { forwarding: direct ? 'direct' : 'nat' }),
    ...numbers({
      affinity: options.affinity,
      table_size: options.tableSize,
      drain_timeout: options.drainTimeout,
      flood_rate: options.floodRate,
    }),
    ...(health === undefined ? {} : { health }),
    ...(Object.keys(passive).length === 0 ? {} : { passive }),
  };
}

/** Without what is not given. */
function numbers(texts: Readonly<Record<string, string | undefined>>): Record<string, number | string> {
  return Object.fromEntries(
    Object.entries(texts).flatMap(([key, text]) => (text === undefined ? [] : [[key, numeric(text)]])),
  );
}

/** @returns null for `none`, undefined where nothing is said */
function healthBody(options: ServiceOptions): Record<string, unknown> | null | undefined {
  const { health, healthHost, healthStatus, healthBody: body } = options;
  const details = {
    ...(healthHost === undefined ? {} : { host: healthHost }),
    ...(healthStatus === undefined ? {} : { status: numeric(healthStatus) }),
    ...(body === undefined ? {} : { body }),
    ...numbers({
      interval: options.healthInterval,
      timeout: options.healthTimeout,
      rise: options.healthRise,
      fall: options.healthFall,
    }),
  };
  const [first] = Object.keys(details);
  if (health === 'none') {
    if (first === undefined) return null;
    throw usageError(`--health-${first}: expected a check that it belongs to, got --health none`);
  }
  if (health !== undefined) return { ...readHealth(health), ...details };
  return first === undefined ? undefined : details;
}

/** TYPE, or TYPE://, then host, port and path, each where wanted. */
const HEALTH_SYNTAX = /^(tcp|https?)(?::\/\/(\[[^\]]*\]|[^:/[\]]*)(?::(\d+))?(\/.*)?)?$/;

function readHealth(text: string): Record<string, unknown> {
  const match = HEALTH_SYNTAX.exec(text);
  if (match === null)
    throw usageError(
      `--health: expected tcp, http, https or a URL such as http://:8080/health, got ${JSON.stringify(text)}`,
    );
  const [, type, host, port, path] = match;
  return {
    type,
    ...(host === undefined || host === '' ? {} : { host }),
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(path === undefined ? {} : { path }),
  };
}

const BACKEND_SYNTAX = /^([^:]+):([^:]+)(?::([^:]+))?$/;

/** What the API wants for ENDPOINT:PORT[:WEIGHT]. @param option or argument that the text comes from */
export function readBackend(option: string, text: string): Record<string, unknown> {
  const match = BACKEND_SYNTAX.exec(text);
  if (match === null)
    throw usageError(`${option}: expected ENDPOINT:PORT or ENDPOINT:PORT:WEIGHT, got ${JSON.stringify(text)}`);
  const [, endpoint = '', port = '', weight] = match;
  return { endpoint, port: numeric(port), ...(weight === undefined ? {} : { weight: numeric(weight) }) };
}

/** ENDPOINT:PORT=WEIGHT of several backends. */
export function readWeights(option: string, texts: readonly string[]): Record<string, number | string> {
  const weights = new Map<string, number | string>();
  for (const text of texts) {
    const [, key, weight] = /^([^:=]+:[^:=]+)=(.+)$/.exec(text) ?? [];
    if (key === undefined || weight === undefined)
      throw usageError(`${option}: expected ENDPOINT:PORT=WEIGHT, got ${JSON.stringify(text)}`);
    if (weights.has(key)) throw usageError(`${option}: expected one weight of ${key}, got two`);
    weights.set(key, numeric(weight));
  }
  return Object.fromEntries(weights);
}
