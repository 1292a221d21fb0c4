/** `tapline connect`: gives a running container an interface in a network. */

import type { Command } from 'commander';
import type { EndpointView } from '../control/views.js';
import { type Context, clientOf, collect, numeric, wantsJson, withJson, withSocket } from './context.js';
import { printJson } from './output.js';

export interface ConnectOptions {
  readonly netns?: string;
  readonly pid?: string;
  readonly name?: string;
  readonly interface?: string;
  readonly address?: string[];
  readonly ip?: string[];
  readonly ip6?: string[];
  readonly mac?: string;
}

const EXAMPLES = `
Addresses that are not given are chosen from the network's subnets, the MAC follows from the IPv4 address.

Examples:
  docker run -d --network none --name c1 alpine sleep 1d
  tapline connect blue c1
  tapline connect blue --netns /run/netns/a --name a --address 172.30.0.2
  tapline connect red c1 --interface eth1`;

/** The body of POST /v1/endpoints: only what the user gave, so that defaults stay in one place. */
export function endpointBody(
  network: string,
  container: string | undefined,
  options: ConnectOptions,
): Record<string, unknown> {
  const addresses = [...(options.address ?? []), ...(options.ip ?? []), ...(options.ip6 ?? [])];
  return {
    network,
    ...(container === undefined ? {} : { container }),
    ...(options.netns === undefined ? {} : { netns: options.netns }),
    ...(options.pid === undefined ? {} : { pid: numeric(options.pid) }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.interface === undefined ? {} : { interface: options.interface }),
    ...(addresses.length === 0 ? {} : { addresses }),
    ...(options.mac === undefined ? {} : { mac: options.mac }),
  };
}

/** Options that say how the endpoint looks, shared with `run`. */
export function withEndpointOptions(command: Command): Command {
  return command
    .option('--name <name>', "name of the endpoint (default: the container's)")
    .option('--interface <name>', 'name of the interface inside (default: eth0)')
    .option('--address <address>', 'IPv4 or IPv6 address (repeatable)', collect)
    .option('--ip <address>', 'the same as --address, as Docker says it', collect)
    .option('--ip6 <address>', 'the same as --address, as Docker says it', collect)
    .option('--mac <mac>', 'MAC address');
}

export function registerConnect(program: Command, context: Context): void {
  withEndpointOptions(withJson(withSocket(program.command('connect'))))
    .argument('<network>')
    .argument('[container]', 'name or id of a Docker or Podman container')
    .description('attach a container to a network')
    .option('--netns <path>', 'network namespace instead of a container, such as /run/netns/a')
    .option('--pid <pid>', 'process whose network namespace it is, instead of a container')
    .addHelpText('after', EXAMPLES)
    .action(async (network: string, container: string | undefined, options: ConnectOptions, command: Command) => {
      const body = endpointBody(network, container, options);
      const endpoint = await clientOf(command, context).post<EndpointView>('/v1/endpoints', body);
      if (wantsJson(command)) printJson(context, endpoint);
      else
        context.stdout.write(
          `${endpoint.name}: ${endpoint.interface} ${endpoint.addresses.join(' ')} ${endpoint.mac}\n`,
        );
    });
}
