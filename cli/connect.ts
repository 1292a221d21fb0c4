/** `tapline connect`: gives a running container an interface in a network. */

import { type Command, Option } from 'commander';
import type { EndpointView } from '../control/views.js';
import { type Context, clientOf, collect, numeric, usageError, wantsJson, withJson, withSocket } from './context.js';
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
  readonly security?: string;
  readonly allowAddress?: string[];
  readonly macs?: string[];
  readonly macLimit?: string;
  readonly isolated?: boolean;
  readonly isolationGroup?: string;
  readonly vlan?: string;
  readonly trunk?: string;
  readonly native?: string;
  readonly gatewayPriority?: string;
  readonly publish?: string[];
}

const EXAMPLES = `
Addresses that are not given are chosen from the network's subnets, the MAC follows from the IPv4 address.

Examples:
  docker run -d --network none --name c1 alpine sleep 1d
  tapline connect blue c1
  tapline connect blue --netns /run/netns/a --name a --address 172.30.0.2
  tapline connect red c1 --interface eth1 --gateway-priority 1
  tapline connect blue router --security mac --interface eth1
  tapline connect lan c1 --vlan 10
  tapline connect lan vm --trunk 10-20,30 --native 10`;

/** `--trunk 10-20,30 --native 10` as the configuration says it. @throws ExitError */
function trunkOf({ trunk, native }: ConnectOptions): Record<string, unknown> {
  if (trunk === undefined) {
    if (native !== undefined)
      throw usageError('--native needs --trunk, the VLANs that have tags; for one VLAN say --vlan');
    return {};
  }
  const allowed = trunk.split(',').map((item) => numeric(item.trim()));
  return { trunk: { ...(native === undefined ? {} : { native: numeric(native) }), allowed } };
}

/** What the endpoint may do, and where. */
function guardsOf(options: ConnectOptions): Record<string, unknown> {
  return {
    ...(options.security === undefined ? {} : { security: options.security }),
    ...(options.allowAddress === undefined ? {} : { allowed_addresses: options.allowAddress }),
    ...(options.macs === undefined ? {} : { macs: options.macs }),
    ...(options.macLimit === undefined ? {} : { mac_limit: numeric(options.macLimit) }),
    ...(options.isolated === undefined ? {} : { isolated: options.isolated }),
    ...(options.isolationGroup === undefined ? {} : { isolation_group: options.isolationGroup }),
    ...(options.vlan === undefined ? {} : { vlan: numeric(options.vlan) }),
    ...trunkOf(options),
  };
}

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
    ...(options.gatewayPriority === undefined ? {} : { gateway_priority: numeric(options.gatewayPriority) }),
    ...(options.publish === undefined ? {} : { publish: options.publish }),
    ...guardsOf(options),
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
    .option('--mac <mac>', 'MAC address')
    .option('-p, --publish <published>', 'published port such as 8080:80 (repeatable)', collect)
    .option('--gateway-priority <number>', 'of the endpoints in one namespace the highest has the default route')
    .addOption(
      new Option('--security <level>', 'what is checked of its frames (default: strict)').choices([
        'strict',
        'mac',
        'off',
      ]),
    )
    .option('--allow-address <address>', 'address or prefix that it may use besides its own (repeatable)', collect)
    .option('--macs <mac>', 'further MAC behind it (repeatable)', collect)
    .option('--mac-limit <macs>', 'MACs that may be behind it, its own included')
    .option('--isolated', 'it reaches the gateway and the uplink, no endpoint that is isolated too')
    .option('--no-isolated', 'it reaches all, in a network whose endpoints are isolated')
    .option('--isolation-group <group>', 'isolated, but for endpoints of the same group')
    .option('--vlan <vlan>', 'its VLAN, in a network with VLAN filtering (default: 1)')
    .option('--trunk <vlans>', 'VLANs that it gets with tags, such as 10-20,30')
    .option('--native <vlan>', 'VLAN of the untagged frames of a trunk (default: none)');
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
