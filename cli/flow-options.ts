/** `--proto`, `--state` and so on: which connections a command is about. */

import { type Command, Option } from 'commander';
import { STATE_NAMES } from '../control/flow-names.js';
import { numeric } from './context.js';

/** As commander hands them over. */
export interface FlowOptions {
  readonly proto?: string;
  readonly state?: string;
  readonly src?: string;
  readonly dst?: string;
  readonly port?: string;
  readonly endpoint?: string;
  readonly network?: string;
  readonly service?: string;
  readonly nat?: boolean;
}

export function withFlowOptions(command: Command): Command {
  return command
    .option('--proto <protocol>', 'tcp, udp, icmp, icmpv6, sctp and so on, or a number')
    .addOption(new Option('--state <state>', 'how far it has come').choices(STATE_NAMES))
    .option('--src <prefix>', 'that began here: an address or a prefix')
    .option('--dst <prefix>', 'to here, before or behind a translation')
    .option('--port <number>', 'with this port at either end')
    .option('--endpoint <endpoint>', 'of this endpoint')
    .option('--network <network>', 'of this network')
    .option('--service <service>', 'through this service')
    .option('--nat', 'translated ones only');
}

/** What of a command's options says which connections; only what was given. */
export function flowRequest(options: FlowOptions): Record<string, string | number | boolean> {
  const { port, nat } = options;
  const texts = (['proto', 'state', 'src', 'dst', 'endpoint', 'network', 'service'] as const).flatMap((key) =>
    options[key] === undefined ? [] : [[key, options[key]] as const],
  );
  return {
    ...Object.fromEntries(texts),
    ...(port === undefined ? {} : { port: numeric(port) }),
    ...(nat === true ? { nat } : {}),
  };
}
