/** Overlays as the API shows them, and probes that somebody asks for. */

import type { Daemon } from '../daemon.js';
import type { PortCounters, VtepProbe, VtepStatus } from '../types.js';
import type { KnownVtep, Overlay } from './overlay.js';
import type { OverlayView, ProbeView, VtepView } from './views.js';

/** @param network null: all @throws TaplineError `missing`; `conflict` for a network without */
export async function overlayViews(daemon: Daemon, network: string | null = null): Promise<OverlayView[]> {
  const overlays = network === null ? daemon.overlays.list() : [daemon.overlays.get(network)];
  if (overlays.length === 0) return [];
  const statuses = new Map((await daemon.dataplane.vxlan.status()).map((status) => [status.port, status]));
  const counters = new Map(daemon.dataplane.ports().map((port) => [port.id, port]));
  return overlays.map((overlay) => overlayView(daemon, overlay, statuses, counters));
}

function overlayView(
  daemon: Daemon,
  overlay: Overlay,
  statuses: ReadonlyMap<number, VtepStatus>,
  counters: ReadonlyMap<number, PortCounters>,
): OverlayView {
  const { name, mtu } = overlay.network;
  const { vni, local, port, group = null, learning, open } = overlay.config;
  const why = daemon.overlays.why(name);
  const vteps = overlay.vteps().map((vtep): VtepView => {
    return vtepView(overlay, vtep, why, statuses.get(vtep.port), counters.get(vtep.port));
  });
  return { network: name, vni, local, port, group, state: why === '' ? 'up' : 'down', why, mtu, learning, open, vteps };
}

const WHY: Readonly<Record<VtepStatus['state'], string>> = {
  up: '',
  resolving: 'its next hop is asked for',
  unreachable: 'its next hop does not answer',
  refused: 'nobody listens at its UDP port',
  'no-route': 'there is no route to it',
  down: 'the uplink is down, or the route leads elsewhere',
};

function vtepView(
  overlay: Overlay,
  { address, kind, floods }: KnownVtep,
  overlayWhy: string,
  status: VtepStatus | undefined,
  counters: PortCounters | undefined,
): VtepView {
  const state = status?.state ?? 'down';
  const { rxPackets = 0, rxBytes = 0, txPackets = 0, txBytes = 0, learnedMacs = 0 } = counters ?? {};
  return {
    network: overlay.network.name,
    address,
    kind,
    floods,
    state,
    why: state === 'up' ? '' : overlayWhy || WHY[state],
    heardSeconds: status?.heardSeconds ?? null,
    mtu: status?.mtu ?? 0,
    gbp: status?.gbp ?? null,
    rxPackets,
    rxBytes,
    txPackets,
    txBytes,
    drops: sums(counters?.rxDrops ?? {}, counters?.txDrops ?? {}),
    fdbEntries: learnedMacs + overlay.entryCount(address),
  };
}

function sums(one: Readonly<Record<string, number>>, other: Readonly<Record<string, number>>): Record<string, number> {
  const all = { ...one };
  for (const [reason, count] of Object.entries(other)) all[reason] = (all[reason] ?? 0) + count;
  return all;
}

/** Of one VTEP. @throws TaplineError `missing` */
export async function vtepViewOf(daemon: Daemon, network: string, address: string): Promise<VtepView | undefined> {
  const [view] = await overlayViews(daemon, network);
  return view?.vteps.find((vtep) => vtep.address === address);
}

/**
 * Sends probes through every VTEP but groups, and waits for the answers.
 *
 * @param network null: all that span hosts
 * @throws TaplineError `missing`; `conflict` for a network without
 */
export async function probeOverlay(daemon: Daemon, network: string | null = null): Promise<ProbeView[]> {
  const overlays = network === null ? daemon.overlays.list() : [daemon.overlays.get(network)];
  const wanted = overlays.flatMap((overlay) => {
    return overlay
      .vteps()
      .filter(({ kind }) => kind !== 'group')
      .map((vtep) => ({ overlay, vtep }));
  });
  if (wanted.length === 0) return [];
  const probes = await daemon.dataplane.vxlan.probe(wanted.map(({ vtep }) => vtep.port));
  const statuses = new Map((await daemon.dataplane.vxlan.status()).map((status) => [status.port, status]));
  const byPort = new Map(probes.map((probe) => [probe.port, probe]));
  return wanted.map(({ overlay, vtep }) => {
    return probeView(daemon, overlay, vtep, byPort.get(vtep.port), statuses.get(vtep.port));
  });
}

const LOST: VtepProbe['udp'] = { outcome: 'lost', milliseconds: null };

function probeView(
  daemon: Daemon,
  overlay: Overlay,
  { address }: KnownVtep,
  probe: VtepProbe | undefined,
  status: VtepStatus | undefined,
): ProbeView {
  const { name, mtu } = overlay.network;
  const { udp = LOST, tcp = LOST, fullSize = LOST } = probe ?? {};
  const isSent = status?.state === 'up' || [udp, tcp, fullSize].some(({ outcome }) => outcome !== 'lost');
  const why = isSent ? '' : daemon.overlays.why(name) || WHY[status?.state ?? 'down'];
  return { network: name, address, mtu, udp, tcp, fullSize, why };
}
