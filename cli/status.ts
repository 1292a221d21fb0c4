/** `tapline status`: the daemon at a glance. */

import type { Command } from 'commander';
import type { StatusView } from '../control/api.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { formatRecord, printJson, sum } from './output.js';

/** "up0 up, own, MTU 1500, 10.77.0.1/24 via 10.77.0.254, tunnels by tapline-out0". */
function uplinkText(uplink: NonNullable<StatusView['uplink']>): string {
  const { device, state, why, mode, network, mtu, addresses, gateways, outlet } = uplink;
  const condition = why === '' ? state : `${state} (${why})`;
  const how = network === null ? mode : `bridged into ${network}`;
  const via = gateways.length === 0 ? '' : ` via ${gateways.join(' ')}`;
  const where = addresses.length === 0 ? '' : `, ${addresses.join(' ')}${via}`;
  const tunnels = outlet === null ? '' : `, tunnels by ${outlet}`;
  return `${device} ${condition}, ${how}, MTU ${mtu}${where}${tunnels}`;
}

/** "12 prefixes, 5 of 4096 neighbors, 3 ICMP errors (1 not sent)", and more where there is more to say. */
function routerText(router: StatusView['router']): string {
  const { fragmented, reassembled, held, neighborsEvicted } = router;
  const suppressed = router.icmpSuppressed === 0 ? '' : ` (${router.icmpSuppressed} more not sent)`;
  return [
    `${router.fibPrefixes} prefixes`,
    `${router.neighbors} of ${router.neighborsMax} neighbors${neighborsEvicted === 0 ? '' : ` (${neighborsEvicted} put out)`}`,
    `${router.icmpErrors} ICMP errors${suppressed}`,
    ...(fragmented === 0 ? [] : [`${fragmented} packets fragmented`]),
    ...(reassembled === 0 ? [] : [`${reassembled} reassembled`]),
    ...(held === 0 ? [] : [`${held} waiting`]),
  ].join(', ');
}

/** "blue up (2 of 3 VTEPs)", or "blue down (10.77.0.1 is no address of uplink up0)". */
function overlayText({ network, state, why, vteps, vtepsUp }: StatusView['overlays'][number]): string {
  return `${network} ${state} (${why === '' ? `${vtepsUp} of ${vteps} VTEPs` : why})`;
}

export function formatStatus(status: StatusView): string {
  const { uplink, totals } = status;
  const captures = status.captures.map(({ target, frames, lost }) => `${target} (${frames} frames, ${lost} lost)`);
  return formatRecord({
    version: status.version,
    pid: status.pid,
    socket: status.socket,
    uptime: `${status.uptimeSeconds} s`,
    engine: `${status.engine} (${status.engineReason})`,
    networks: status.networks,
    endpoints: status.endpoints,
    services: status.services,
    uplink: uplink === null ? '-' : uplinkText(uplink),
    overlays: status.overlays.map(overlayText).join(', '),
    'packet slots': `${status.freeSlots} free of ${status.slots}`,
    fdb: `${status.fdbEntries} of ${status.fdbCapacity} entries, ${status.fdbMoves} moves, ${status.fdbFull} times full`,
    router: routerText(status.router),
    quarantined: status.quarantined.map(({ port, text }) => (text === '' ? port : `${port} (${text})`)).join(', '),
    frames: `${totals.rxPackets} received, ${totals.originated} made here, ${totals.copies} copied, ${totals.txPackets} delivered, ${totals.local} taken in, ${
      sum(totals.rxDrops) + sum(totals.txDrops)
    } dropped`,
    captures: captures.join(', '),
    mirrors: status.mirrors.map(({ name, state }) => `${name} (${state})`).join(', '),
    'worker restarts': status.workerRestarts,
  });
}

export function registerStatus(program: Command, context: Context): void {
  withJson(withSocket(program.command('status')))
    .description('show whether the daemon is well')
    .action(async (_options: unknown, command: Command) => {
      const status = await clientOf(command, context).get<StatusView>('/v1/status');
      if (wantsJson(command)) printJson(context, status);
      else context.stdout.write(formatStatus(status));
    });
}
