/** The network that spans two hosts: from a container of the first to one of the second, through the VXLAN tunnel between them. */

import type { OverlayView, ProbeView, VtepView } from '../../../control/vxlan/views.js';
import { addressOf, COURIER, DEPOT, WIDE } from '../hosts.js';
import { PAYLOAD_LENGTH } from '../inside/payload.js';
import { HTTP_PORT } from '../inside/ports.js';
import type { Lab } from '../lab.js';
import { runProgramIn } from '../nsenter.js';
import { OUTSIDE, ROUTER, SECOND_ROUTER } from '../outside.js';
import { ping } from './ping.js';

/** The second host as the first knows it. @throws Error where that is not up */
async function vtepOf(lab: Lab): Promise<VtepView> {
  const [overlay] = await lab.client.get<OverlayView[]>('/v1/vxlan', { network: WIDE });
  const vtep = overlay?.vteps.find(({ address }) => address === SECOND_ROUTER.ipv4);
  if (vtep === undefined) throw new Error(`network ${WIDE} has no VTEP ${SECOND_ROUTER.ipv4}`);
  if (vtep.state !== 'up') throw new Error(`VTEP ${vtep.address} is ${vtep.state}: ${vtep.why}`);
  return vtep;
}

/** Ping and HTTP; what came and went shows at the VTEP. */
export async function overlay(lab: Lab): Promise<string> {
  const before = await vtepOf(lab);
  const depot = lab.endpoint(DEPOT);
  const pinged: string[] = [];
  for (const family of [4, 6] as const) {
    pinged.push(await ping(lab, COURIER, DEPOT, family, 0));
    await runProgramIn(lab.endpoint(COURIER), 'fetch', [addressOf(depot, family)], lab.signal);
  }
  const { address, mtu, rxPackets, rxBytes, txPackets } = await vtepOf(lab);
  const [came, bytes, went] = [rxPackets - before.rxPackets, rxBytes - before.rxBytes, txPackets - before.txPackets];
  const counted = `VTEP ${address}: ${came} packets in (${bytes} bytes), ${went} out, MTU ${mtu}`;
  if (bytes < 2 * PAYLOAD_LENGTH || went === 0) throw new Error(`expected the pings and 2 fetches at ${counted}`);
  return `${pinged.join('; ')}; ${PAYLOAD_LENGTH} bytes by HTTP from each; ${counted}`;
}

/** What `tapline vxlan probe` tries. */
export async function overlayProbe(lab: Lab): Promise<string> {
  const [probe] = await lab.client.post<ProbeView[]>('/v1/vxlan/probe', { network: WIDE });
  if (probe === undefined) throw new Error(`network ${WIDE} has no VTEP to probe`);
  const { address, udp, tcp, fullSize, mtu, why } = probe;
  const results = { UDP: udp, TCP: tcp, [`full size (${mtu})`]: fullSize };
  const line = Object.entries(results).map(([name, { outcome }]) => `${name} ${outcome}`);
  const passes = Object.values(results).every(({ outcome }) => outcome === 'answered');
  if (!passes) throw new Error(`${address}: ${why === '' ? line.join(', ') : why}`);
  return `${address}: ${line.join(', ')}`;
}

/** Both hosts have the network's gateway: a container leaves by that of its own, under its own host's address. */
export async function overlayGateway(lab: Lab): Promise<string> {
  const seen: string[] = [];
  for (const [name, router] of [
    [COURIER, ROUTER],
    [DEPOT, SECOND_ROUTER],
  ] as const) {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const who = await runProgramIn(lab.endpoint(name), 'who', [OUTSIDE[family], String(HTTP_PORT)], lab.signal);
      if (who.trim() !== router[family])
        throw new Error(`expected ${name} to be ${router[family]} outside, got ${who.trim()}`);
    }
    seen.push(`${name} is ${router.ipv4} and ${router.ipv6} outside`);
  }
  return seen.join('; ');
}
