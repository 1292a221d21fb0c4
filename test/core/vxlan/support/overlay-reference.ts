/**
 * Networks that span hosts, once more, slow and obvious: Maps and strings. Of RFC 7348, 4.1 and 4.2, what a bridge with VTEPs as ports makes of
 * frames. Knows nothing of slots, references or headers, and shares no code with core/.
 */

export interface InnerFrame {
  readonly to: string;
  readonly from: string;
  /** Of an 802.1Q tag in front; 0: it has none. */
  readonly tag: number;
  readonly id: number;
}

interface Entry {
  port: string;
  isStatic: boolean;
  seen: number;
}

export interface Tap {
  readonly isolated: boolean;
}

export interface Vtep {
  readonly host: number;
  floods: boolean;
  readonly learning: boolean;
}

/** One host's end of one network. */
class Segment {
  vni: number;
  readonly taps = new Map<string, Tap>();
  readonly vteps = new Map<string, Vtep>();
  readonly fdb = new Map<string, Entry>();

  constructor(vni: number) {
    this.vni = vni;
  }

  forget(isGone: (entry: Entry) => boolean): void {
    for (const [mac, entry] of this.fdb) if (isGone(entry)) this.fdb.delete(mac);
  }

  /** Ports that get what is flooded. */
  get members(): string[] {
    return [...this.taps.keys(), ...[...this.vteps].filter(([, { floods }]) => floods).map(([name]) => name)];
  }

  mayReach(from: string, to: string): boolean {
    return !this.isAlone(from) || !this.isAlone(to);
  }

  private isAlone(port: string): boolean {
    return this.vteps.has(port) || this.taps.get(port)?.isolated === true;
  }
}

/** What came of one frame. */
export interface Result {
  /** "HOST/PORT" and the frame, of each copy that a container got. */
  readonly arrivals: { readonly place: string; readonly frame: InnerFrame }[];
  /** "FROM>TO VNI" of each packet on the underlay. */
  readonly packets: string[];
  readonly drops: string[];
}

const AGEING = 300;

export class ReferenceOverlay {
  now = 0;
  private readonly segments: Map<number, Segment>[];

  /** @param vnis by network, the same on each host */
  constructor(hosts: number, vnis: ReadonlyMap<number, number>) {
    this.segments = Array.from({ length: hosts }, () => new Map([...vnis].map(([id, vni]) => [id, new Segment(vni)])));
  }

  segment(host: number, network: number): Segment {
    const segment = this.segments[host - 1].get(network);
    if (segment === undefined) throw new Error(`reference: no network ${network}`);
    return segment;
  }

  /** @returns false where another network of the host has the VNI */
  setVni(host: number, network: number, vni: number): boolean {
    for (const [id, segment] of this.segments[host - 1]) if (id !== network && segment.vni === vni) return false;
    this.segment(host, network).vni = vni;
    return true;
  }

  removePort(host: number, network: number, port: string): void {
    const segment = this.segment(host, network);
    segment.taps.delete(port);
    segment.vteps.delete(port);
    segment.forget((entry) => entry.port === port);
  }

  wait(seconds: number): void {
    this.now += seconds;
    for (const host of this.segments) {
      for (const segment of host.values())
        segment.forget(({ isStatic, seen }) => !isStatic && this.now - seen >= AGEING);
    }
  }

  /** A container sends. */
  send(host: number, network: number, port: string, frame: InnerFrame): Result {
    const result: Result = { arrivals: [], packets: [], drops: [] };
    if (this.segment(host, network).taps.has(port)) this.bridge(host, network, port, frame, result);
    else result.drops.push('port_unbound');
    return result;
  }

  private bridge(host: number, network: number, port: string, frame: InnerFrame, result: Result): void {
    const segment = this.segment(host, network);
    if (segment.vteps.get(port)?.learning !== false && !this.learn(segment, port, frame.from)) {
      result.drops.push('static_mac');
      return;
    }
    const known = isGroup(frame.to) ? undefined : segment.fdb.get(frame.to)?.port;
    if (known === port) {
      result.drops.push('hairpin');
      return;
    }
    const others = known === undefined ? segment.members.filter((member) => member !== port) : [known];
    const reached = others.filter((other) => segment.mayReach(port, other));
    if (reached.length === 0) result.drops.push(others.length > 0 ? 'isolated' : 'no_destination');
    for (const to of reached) this.leave(host, network, to, frame, result);
  }

  /** @returns false where the MAC is bound to another port */
  private learn(segment: Segment, port: string, mac: string): boolean {
    const entry = segment.fdb.get(mac);
    if (entry?.isStatic === true) return entry.port === port;
    segment.fdb.set(mac, { port, isStatic: false, seen: this.now });
    return true;
  }

  private leave(host: number, network: number, port: string, frame: InnerFrame, result: Result): void {
    const segment = this.segment(host, network);
    const vtep = segment.vteps.get(port);
    if (vtep === undefined) {
      result.arrivals.push({ place: `${host}/${port}`, frame });
      return;
    }
    result.packets.push(`${host}>${vtep.host} ${segment.vni}`);
    this.arrive(vtep.host, host, segment.vni, { ...frame, tag: 0 }, result);
  }

  private arrive(host: number, from: number, vni: number, frame: InnerFrame, result: Result): void {
    const found = [...this.segments[host - 1]].find(([, segment]) => segment.vni === vni);
    if (found === undefined) {
      result.drops.push('vxlan_vni');
      return;
    }
    const [network, segment] = found;
    const port = [...segment.vteps].find(([, vtep]) => vtep.host === from)?.[0];
    if (port === undefined) result.drops.push('vxlan_vtep');
    else this.bridge(host, network, port, frame, result);
  }

  /** "HOST NETWORK MAC PORT", static ones marked, sorted. */
  get entries(): string[] {
    const lines: string[] = [];
    this.segments.forEach((host, i) => {
      for (const [network, { fdb }] of host) {
        for (const [mac, { port, isStatic }] of fdb)
          lines.push(`${i + 1} ${network} ${mac} ${port}${isStatic ? ' static' : ''}`);
      }
    });
    return lines.sort();
  }
}

function isGroup(mac: string): boolean {
  return Number.parseInt(mac.slice(0, 2), 16) % 2 === 1;
}
