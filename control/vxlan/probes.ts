/**
 * Probes through VTEPs, by themselves: some seconds after an overlay has come up, and whenever a VTEP can be reached again. What they find is
 * said in the log, a line a VTEP, where it is not what was said before.
 */

import type { DataplaneLogger } from '../dataplane.js';
import type { Dataplane, ProbeResult, VtepProbe } from '../types.js';
import type { KnownVtep, Overlay } from './overlay.js';

/** Milliseconds from when a VTEP is, or may be, reached until it is probed: its next hop has answered by then, and the other side is up. */
const PAUSE = 3000;
/** Probed together. */
const AT_ONCE = 64;

const WORDS: Readonly<Record<ProbeResult['outcome'], string>> = {
  answered: 'ok',
  lost: 'lost',
  'wrong-checksum': 'broken (wrong checksum)',
};

export class Probes {
  readonly #dataplane: Pick<Dataplane, 'vxlan'>;
  readonly #logger: DataplaneLogger;
  /** When ports are due, in milliseconds. */
  readonly #due = new Map<number, number>();
  /** What was said last, by port. */
  readonly #said = new Map<number, string>();

  constructor(dataplane: Pick<Dataplane, 'vxlan'>, logger: DataplaneLogger) {
    this.#dataplane = dataplane;
    this.#logger = logger;
  }

  overlayUp(overlay: Overlay, now: number): void {
    for (const vtep of overlay.vteps()) this.#expect(vtep, now);
  }

  /** One that was named after the overlay had come up. */
  added(vtep: KnownVtep, now: number): void {
    this.#expect(vtep, now);
  }

  #expect(vtep: KnownVtep, now: number): void {
    if (isNamed(vtep)) this.#due.set(vtep.port, now + PAUSE);
  }

  reachable(port: number, now: number): void {
    this.#due.set(port, now + PAUSE);
  }

  /** @param now milliseconds */
  async look(overlays: readonly Overlay[], now: number): Promise<void> {
    const due = [...this.#due].filter(([, at]) => at <= now).slice(0, AT_ONCE);
    if (due.length === 0) return;
    for (const [port] of due) this.#due.delete(port);
    const ports = new Set(due.map(([port]) => port));
    const vteps = new Map<number, { vtep: KnownVtep; overlay: Overlay }>();
    for (const overlay of overlays)
      for (const vtep of overlay.vteps().filter(isNamed))
        if (ports.has(vtep.port)) vteps.set(vtep.port, { vtep, overlay });
    for (const probe of await this.#dataplane.vxlan.probe([...vteps.keys()])) {
      const found = vteps.get(probe.port);
      if (found !== undefined) this.#say(found.vtep, found.overlay, probe);
    }
    this.#forgetGone(overlays);
  }

  #say({ address, port }: KnownVtep, { network }: Overlay, probe: VtepProbe): void {
    const line = `VTEP ${address} of network ${network.name}: ${finding(probe, network.mtu)}`;
    if (this.#said.get(port) === line) return;
    this.#said.set(port, line);
    if (isAnswered(probe)) this.#logger.info(line);
    else this.#logger.warn(line);
  }

  #forgetGone(overlays: readonly Overlay[]): void {
    const ports = new Set(overlays.flatMap((overlay) => overlay.vteps().map(({ port }) => port)));
    for (const port of this.#said.keys()) if (!ports.has(port)) this.#said.delete(port);
    for (const port of this.#due.keys()) if (!ports.has(port)) this.#due.delete(port);
  }
}

/** Nobody answers for a group; and for who has not been named nobody vouches. */
function isNamed({ kind }: KnownVtep): boolean {
  return kind === 'remote' || kind === 'static';
}

function isAnswered({ udp, tcp, fullSize }: VtepProbe): boolean {
  return [udp, tcp, fullSize].every(({ outcome }) => outcome === 'answered');
}

/** @param mtu of the network: bytes of the full-size probe */
function finding({ udp, tcp, fullSize }: VtepProbe, mtu: number): string {
  if ([udp, tcp, fullSize].every(({ outcome }) => outcome === 'lost'))
    return 'no answer: no Tapline there, or packets are lost';
  return `UDP ${WORDS[udp.outcome]}, TCP ${WORDS[tcp.outcome]}, full-size (${mtu}) ${WORDS[fullSize.outcome]}`;
}
