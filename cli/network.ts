/** `tapline network create|ls|inspect|rm`. */

import { type Command, Option } from 'commander';
import type { NetworkView } from '../control/views.js';
import { type Context, clientOf, collect, numeric, wantsJson, withJson, withSocket } from './context.js';
import { type Column, formatRecord, formatTable, list, printJson, removeEach, yesNo } from './output.js';

interface CreateOptions {
  readonly subnet?: string[];
  readonly gateway?: string[];
  readonly gatewayMac?: string;
  readonly ipRange?: string[];
  readonly vrf?: string;
  readonly host?: boolean;
  readonly sourceValidation?: boolean;
  readonly proxy?: string[];
  readonly routerAdvertisements?: boolean;
  readonly mtu?: string;
  readonly internal?: boolean;
  readonly isolated?: boolean;
  readonly masquerade: boolean | readonly string[];
  readonly policy?: string;
  readonly ageing?: string;
  readonly fdbLimit?: string;
  readonly fdbFull?: string;
  readonly vlanFiltering?: boolean;
  readonly vlanProtocol?: string;
  readonly snooping: boolean;
  readonly querier: boolean;
  readonly unregistered?: string;
  readonly vni?: string;
  readonly vxlanLocal?: string;
  readonly vxlanRemote?: string[];
  readonly vxlanGroup?: string;
  readonly vxlanPort?: string;
}

const COLUMNS: readonly Column<NetworkView>[] = [
  { title: 'NAME', value: ({ name }) => name },
  { title: 'SUBNETS', value: ({ subnets }) => list(subnets) },
  { title: 'MTU', value: ({ mtu }) => mtu },
  { title: 'INTERNAL', value: ({ internal }) => yesNo(internal) },
  { title: 'UPLINK', value: ({ uplink }) => uplink ?? '-' },
  { title: 'ENDPOINTS', value: ({ endpoints }) => endpoints.length },
];

function multicastBody({ snooping, querier, unregistered }: CreateOptions): Record<string, unknown> {
  const multicast = {
    ...(snooping ? {} : { snooping }),
    ...(querier ? {} : { querier }),
    ...(unregistered === undefined ? {} : { unregistered }),
  };
  return Object.keys(multicast).length === 0 ? {} : { multicast };
}

/** What the gateway is like. */
function gatewayBody(options: CreateOptions): Record<string, unknown> {
  return {
    ...(options.gateway === undefined ? {} : { gateways: options.gateway }),
    ...(options.gatewayMac === undefined ? {} : { gateway_mac: options.gatewayMac }),
    ...(options.ipRange === undefined ? {} : { range: options.ipRange }),
    ...(options.vrf === undefined ? {} : { vrf: options.vrf }),
    ...(options.host === true ? { host: true } : {}),
    ...(options.sourceValidation === true ? { source_validation: true } : {}),
    ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
    ...(options.routerAdvertisements === true ? { router_advertisements: { enabled: true } } : {}),
  };
}

/** What stretches the network over several hosts; nothing where none of it is given. */
function vxlanBody({ vni, vxlanLocal, vxlanRemote, vxlanGroup, vxlanPort }: CreateOptions): Record<string, unknown> {
  const vxlan = {
    ...(vni === undefined ? {} : { vni: numeric(vni) }),
    ...(vxlanLocal === undefined ? {} : { local: vxlanLocal }),
    ...(vxlanRemote === undefined ? {} : { remotes: vxlanRemote }),
    ...(vxlanGroup === undefined ? {} : { group: vxlanGroup }),
    ...(vxlanPort === undefined ? {} : { port: numeric(vxlanPort) }),
  };
  return Object.keys(vxlan).length === 0 ? {} : { vxlan };
}

/** The body of POST /v1/networks: only what the user gave, so that defaults stay in one place. */
function networkBody(name: string, options: CreateOptions): Record<string, unknown> {
  return {
    name,
    subnets: options.subnet ?? [],
    ...gatewayBody(options),
    ...(options.mtu === undefined ? {} : { mtu: numeric(options.mtu) }),
    ...(options.internal === true ? { internal: true } : {}),
    ...(options.isolated === true ? { isolated: true } : {}),
    ...(options.masquerade ? {} : { masquerade: false }),
    ...(options.policy === undefined ? {} : { policy: options.policy }),
    ...(options.ageing === undefined ? {} : { ageing: numeric(options.ageing) }),
    ...(options.fdbLimit === undefined ? {} : { fdb_limit: numeric(options.fdbLimit) }),
    ...(options.fdbFull === undefined ? {} : { fdb_full: options.fdbFull }),
    ...(options.vlanFiltering === true ? { vlan_filtering: true } : {}),
    ...(options.vlanProtocol === undefined ? {} : { vlan_protocol: options.vlanProtocol }),
    ...multicastBody(options),
    ...vxlanBody(options),
  };
}

export function networkPath(name: string): string {
  return `/v1/networks/${encodeURIComponent(name)}`;
}

const CREATE_HELP = `
With --vni and --vxlan-local the network spans several hosts (VXLAN): give the same on each, and the others as --vxlan-remote, or one
--vxlan-group for all.

Examples:
  tapline network create blue --subnet 172.30.0.0/24 --subnet fd00:30::/64
  tapline network create wide --subnet 172.26.0.0/24 --vni 42 --vxlan-local 10.77.0.1 --vxlan-remote 10.77.0.2`;

function registerCreate(network: Command, context: Context): void {
  withJson(withSocket(network.command('create')))
    .argument('<name>')
    .description('make a network')
    .requiredOption('--subnet <subnet>', 'subnet, such as 172.30.0.0/24 or fd00:30::/64 (repeatable)', collect)
    .option('--gateway <address>', "the router's address in a subnet; the first unless given (repeatable)", collect)
    .option('--gateway-mac <mac>', "the gateway's MAC (default: from its address)")
    .option('--ip-range <prefix>', 'part of a subnet that addresses are given out of (repeatable)', collect)
    .option('--vrf <vrf>', 'VRF; networks of one reach each other where it interconnects (default: default)')
    .option('--host', 'the host and the endpoints reach each other, at the gateway address')
    .option('--source-validation', 'take packets only from where the route to their source leads')
    .option('--proxy <prefix>', 'prefix that the gateway answers ARP and neighbor discovery for (repeatable)', collect)
    .option('--router-advertisements', 'endpoints may make their IPv6 addresses themselves (SLAAC)')
    .option('--mtu <bytes>', "MTU of its endpoints (default: 1500; with --vni what the uplink's leaves)")
    .option('--internal', 'no way out')
    .option('--isolated', 'endpoints reach the gateway and the uplink, not each other')
    .option('--no-masquerade', 'leave the source addresses of what goes out as they are')
    .addOption(
      new Option('--policy <action>', 'new connections to its endpoints that no rule fits (default: accept)').choices([
        'accept',
        'drop',
        'reject',
      ]),
    )
    .option('--ageing <seconds>', 'how long an idle MAC is remembered (default: 300)')
    .option('--fdb-limit <entries>', 'MACs it may learn (default: 16384)')
    .addOption(
      new Option('--fdb-full <policy>', 'frames from MACs that find no room (default: flood)').choices([
        'flood',
        'drop',
      ]),
    )
    .option('--vlan-filtering', 'tell VLANs apart: endpoints have a VLAN or a trunk')
    .addOption(
      new Option('--vlan-protocol <protocol>', 'tags it tells VLANs apart by (default: 802.1q)').choices([
        '802.1q',
        '802.1ad',
      ]),
    )
    .option('--no-snooping', 'flood multicast whoever has joined')
    .option('--no-querier', 'never ask who has joined which multicast group')
    .addOption(
      new Option('--unregistered <policy>', 'multicast that nobody has joined (default: flood)').choices([
        'flood',
        'drop',
      ]),
    )
    .option('--vni <vni>', 'VXLAN identifier that the network has on all of its hosts (1 to 16777215)')
    .option('--vxlan-local <address>', 'address of the uplink that this host is reached at')
    .option('--vxlan-remote <address>', 'another host of the network, at its address (repeatable)', collect)
    .option('--vxlan-group <address>', 'multicast group of the wire that all of its hosts are in')
    .option('--vxlan-port <number>', 'UDP port (default: 4789)')
    .addHelpText('after', CREATE_HELP)
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const created = await clientOf(command, context).post<NetworkView>('/v1/networks', networkBody(name, options));
      if (wantsJson(command)) printJson(context, created);
      else context.stdout.write(`${created.name}\n`);
    });
}

function registerList(network: Command, context: Context): void {
  withJson(withSocket(network.command('ls')))
    .alias('list')
    .description('list networks')
    .action(async (_options: unknown, command: Command) => {
      const networks = await clientOf(command, context).get<NetworkView[]>('/v1/networks');
      if (wantsJson(command)) printJson(context, networks);
      else context.stdout.write(formatTable(COLUMNS, networks));
    });
}

function registerInspect(network: Command, context: Context): void {
  withJson(withSocket(network.command('inspect')))
    .argument('<network>')
    .description('show one network')
    .action(async (name: string, _options: unknown, command: Command) => {
      const view = await clientOf(command, context).get<NetworkView>(networkPath(name));
      if (wantsJson(command)) printJson(context, view);
      else context.stdout.write(formatNetwork(view));
    });
}

function multicastLine({ snooping, querier, unregistered }: NetworkView['multicast']): string {
  if (!snooping) return 'flooded';
  return `snooping${querier ? ', querier' : ''}, unregistered: ${unregistered}`;
}

function loopLine({ enabled, moves, quarantine }: NetworkView['loop_protection']): string {
  return enabled ? `quarantine of ${quarantine} s after ${moves} moves of a MAC in 10 s` : 'off';
}

function advertisementLine(spec: NetworkView['router_advertisements']): string {
  const { enabled, interval, lifetime, autonomous, managed, other } = spec;
  if (!enabled) return 'off';
  const flags = Object.entries({ autonomous, managed, other }).filter(([, on]) => on);
  return [`every ${interval} s`, `lifetime ${lifetime} s`, ...flags.map(([name]) => name)].join(', ');
}

/** What the network's configuration says; how it is, `show vxlan` says. */
function vxlanLine({ vxlan }: NetworkView): string {
  if (vxlan === null) return '-';
  const { vni, local, port, remotes, group } = vxlan;
  return [
    `VNI ${vni}`,
    `${local} port ${port}`,
    ...(remotes.length === 0 ? [] : [`to ${list(remotes)}`]),
    ...(group === undefined ? [] : [`group ${group}`]),
  ].join(', ');
}

function formatNetwork(view: NetworkView): string {
  return formatRecord({
    name: view.name,
    state: view.state,
    subnets: list(view.subnets),
    gateways: list(view.gateways),
    'gateway mac': view.gateway_mac ?? 'outside',
    range: list(view.range),
    vrf: view.vrf,
    mtu: view.mtu,
    internal: yesNo(view.internal),
    isolated: yesNo(view.isolated),
    masquerade: typeof view.masquerade === 'boolean' ? yesNo(view.masquerade) : list(view.masquerade),
    policy: view.policy,
    host: yesNo(view.host),
    'source validation': yesNo(view.source_validation),
    proxy: list(view.proxy),
    'router advertisements': advertisementLine(view.router_advertisements),
    ageing: `${view.ageing} s`,
    'fdb limit': `${view.fdb_limit}, then ${view.fdb_full}`,
    vlans: view.vlan_protocol ?? '-',
    multicast: multicastLine(view.multicast),
    'storm control': Object.entries(view.storm_control)
      .map(([kind, rate]) => `${kind} ${rate === 'off' ? 'off' : `${rate}/s`}`)
      .join(', '),
    'loop protection': loopLine(view.loop_protection),
    vxlan: vxlanLine(view),
    uplink: view.uplink ?? '-',
    endpoints: list(view.endpoints),
  });
}

function registerRemove(network: Command, context: Context): void {
  withJson(withSocket(network.command('rm')))
    .alias('remove')
    .argument('<network...>')
    .description('remove networks')
    .option('--force', 'also disconnect the endpoints that are still attached')
    .action(async (names: string[], options: { force?: boolean }, command: Command) => {
      const client = clientOf(command, context);
      const query = options.force === true ? { force: true } : {};
      await removeEach(names, (name) => client.delete(networkPath(name), query), wantsJson(command), context);
    });
}

export function registerNetwork(program: Command, context: Context): void {
  const network = program.command('network').description('create, list, inspect and remove networks');
  for (const register of [registerCreate, registerList, registerInspect, registerRemove]) register(network, context);
}
