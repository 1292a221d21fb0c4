/**
 * The bridge once more, slow and obvious: Maps, objects and strings. It knows nothing of slots, generations, epochs or places, and
 * shares no code with core/. Multicast is flooded here: snooping has a reference of its own.
 */

export interface Tag {
  readonly protocol: number;
  readonly vid: number;
  /** Priority and drop eligibility, 4 bits. */
  readonly priority: number;
}

export interface ReferenceFrame {
  readonly to: string;
  readonly from: string;
  /** Outermost first. */
  readonly tags: readonly Tag[];
  readonly etherType: number;
}

export interface ReferenceNetwork {
  /** TPID of its VLANs' tags, 0: it has none. */
  readonly protocol: number;
  readonly limit: number;
  readonly dropWhenFull: boolean;
  readonly ageing: number;
}

export interface ReferencePort {
  readonly network: number;
  /** Untagged VLAN, or 0. In a network without VLANs 0. */
  readonly native: number;
  /** VLANs with tags. In a network without VLANs: none, or the one that stands for the network on the wire. */
  readonly tagged: readonly number[];
  readonly isolation: number;
  readonly level: 'off' | 'mac' | 'strict';
  /** Own and further MACs. */
  readonly macs: readonly string[];
  /** MACs that it may speak from where its level is not `off`. */
  readonly speakers: number;
  /** MACs that it may have learned. */
  readonly macLimit: number;
}

interface Entry {
  readonly network: number;
  readonly vid: number;
  port: number;
  isStatic: boolean;
  seen: number;
}

export type Outcome = { readonly drop: string } | { readonly sent: ReadonlyMap<number, ReferenceFrame> };

/** Of the EtherTypes in these frames, the one that an endpoint under strict security must not send. */
const LLDP = 0x88cc;
const CUSTOMER = 0x8100;

export class ReferenceBridge {
  now = 0;
  private readonly networks = new Map<number, ReferenceNetwork>();
  private readonly ports = new Map<number, ReferencePort>();
  private readonly stopped = new Map<number, number>();
  private readonly table = new Map<string, Entry>();

  addNetwork(id: number, network: ReferenceNetwork): void {
    this.networks.set(id, network);
  }

  addPort(id: number, port: ReferencePort): void {
    this.ports.set(id, port);
    const vlans = this.vlansOf(port);
    const isTrunk = vlans.length > 1;
    const home = port.native !== 0 ? port.native : vlans.length === 1 ? vlans[0] : null;
    if (home === null || (isTrunk && port.level !== 'off')) return;
    for (const mac of port.macs) this.bind(port.network, home, mac, id);
  }

  /** VLANs of a port; [0] in a network without VLANs. */
  private vlansOf(port: ReferencePort): number[] {
    if (this.networkOf(port).protocol === 0) return [0];
    return [...new Set([port.native, ...port.tagged])].filter((vid) => vid !== 0);
  }

  isMember(id: number, vid: number): boolean {
    const port = this.ports.get(id);
    return port !== undefined && this.vlansOf(port).includes(vid);
  }

  bind(network: number, vid: number, mac: string, port: number): void {
    this.table.set(`${network} ${vid} ${mac}`, { network, vid, port, isStatic: true, seen: this.now });
  }

  unbind(network: number, vid: number, mac: string): void {
    this.table.delete(`${network} ${vid} ${mac}`);
  }

  removePort(id: number): void {
    this.forget((entry) => entry.port === id);
    this.ports.delete(id);
    this.stopped.delete(id);
  }

  flushPort(id: number): void {
    this.forget((entry) => entry.port === id && !entry.isStatic);
  }

  flushVlan(network: number, vid: number): void {
    this.forget((entry) => entry.network === network && entry.vid === vid && !entry.isStatic);
  }

  flushAll(): void {
    this.forget((entry) => !entry.isStatic);
  }

  quarantine(id: number, seconds: number): void {
    if (!this.ports.has(id) || this.stopped.has(id)) return;
    this.stopped.set(id, this.now + seconds);
    this.flushPort(id);
  }

  wait(seconds: number): void {
    this.now += seconds;
    for (const [id, until] of this.stopped) if (until <= this.now) this.stopped.delete(id);
    this.forget((entry) => !entry.isStatic && this.now - entry.seen >= this.network(entry.network).ageing);
  }

  get entries(): number {
    return this.table.size;
  }

  private forget(isGone: (entry: Entry) => boolean): void {
    for (const [key, entry] of this.table) if (isGone(entry)) this.table.delete(key);
  }

  private network(id: number): ReferenceNetwork {
    const network = this.networks.get(id);
    if (network === undefined) throw new Error(`reference: no network ${id}`);
    return network;
  }

  private networkOf(port: ReferencePort): ReferenceNetwork {
    return this.network(port.network);
  }

  receive(id: number, frame: ReferenceFrame): Outcome {
    const port = this.ports.get(id);
    if (port === undefined) return { drop: 'port_unbound' };
    if (this.stopped.has(id)) return { drop: 'quarantined' };
    if (isGroup(frame.from)) return { drop: 'source_multicast' };
    if (frame.to.startsWith('01:80:c2:00:00:0')) return { drop: 'reserved_multicast' };
    if (frame.tags[0]?.vid === 4095) return { drop: 'vlan_reserved' };
    const vid = this.classify(port, frame);
    if (typeof vid === 'string') return { drop: vid };
    const refused = this.checkSource(id, port, vid, frame) ?? this.learn(id, port, vid, frame.from);
    if (refused !== null) return { drop: refused };
    return this.forward(id, port, vid, frame);
  }

  /** TPID that a port looks at, 0 where tags are payload. */
  private protocolOf(port: ReferencePort): number {
    const { protocol } = this.networkOf(port);
    if (protocol !== 0) return protocol;
    return port.tagged.length > 0 ? CUSTOMER : 0;
  }

  /** The VLAN of a frame (0 in a network without), or why it is refused. */
  private classify(port: ReferencePort, frame: ReferenceFrame): number | string {
    const protocol = this.protocolOf(port);
    if (protocol === 0) return 0;
    const isVlanAware = this.networkOf(port).protocol !== 0;
    const tag = frame.tags[0];
    if (tag === undefined || tag.protocol !== protocol || tag.vid === 0) {
      return port.native === 0 ? 'vlan_untagged' : isVlanAware ? port.native : 0;
    }
    const isTrunk = port.tagged.length > 0;
    const isAllowed = port.tagged.includes(tag.vid) || (isTrunk && tag.vid === port.native);
    if (!isAllowed) return 'vlan_not_allowed';
    return isVlanAware ? tag.vid : 0;
  }

  private checkSource(id: number, port: ReferencePort, vid: number, frame: ReferenceFrame): string | null {
    if (port.level === 'off') return null;
    const isKnownHere = this.table.get(`${port.network} ${vid} ${frame.from}`)?.port === id;
    if (frame.from !== port.macs[0] && port.speakers === 1 && !isKnownHere) return 'source_mac';
    return port.level === 'strict' && frame.etherType === LLDP ? 'link_protocol' : null;
  }

  /** Why the frame is dropped, or null. */
  private learn(id: number, port: ReferencePort, vid: number, mac: string): string | null {
    const key = `${port.network} ${vid} ${mac}`;
    const entry = this.table.get(key);
    if (entry?.isStatic) return entry.port === id ? null : 'static_mac';
    if (entry?.port === id) {
      entry.seen = this.now;
      return null;
    }
    const { limit, dropWhenFull } = this.networkOf(port);
    const learned = [...this.table.values()].filter((other) => other.port === id && !other.isStatic).length;
    if (learned >= port.macLimit) return port.level !== 'off' || dropWhenFull ? 'mac_limit' : null;
    const inNetwork = [...this.table.values()].filter((other) => other.network === port.network).length;
    if (entry === undefined && inNetwork >= limit) {
      const isCounted = port.level !== 'off' && !port.macs.includes(mac);
      return dropWhenFull || isCounted ? 'fdb_full' : null;
    }
    this.table.set(key, { network: port.network, vid, port: id, isStatic: false, seen: this.now });
    return null;
  }

  private forward(id: number, port: ReferencePort, vid: number, frame: ReferenceFrame): Outcome {
    const known = isGroup(frame.to) ? undefined : this.table.get(`${port.network} ${vid} ${frame.to}`);
    if (known !== undefined) {
      const target = this.ports.get(known.port);
      if (target === undefined) throw new Error('reference: an entry outlived its port');
      if (known.port === id) return { drop: 'hairpin' };
      if (!mayReach(port, target)) return { drop: 'isolated' };
      if (this.stopped.has(known.port)) return { drop: 'quarantined' };
      return { sent: new Map([[known.port, this.leave(port, target, vid, frame)]]) };
    }
    const others = [...this.ports].filter(
      ([other, target]) =>
        other !== id &&
        target.network === port.network &&
        this.vlansOf(target).includes(vid) &&
        !this.stopped.has(other),
    );
    const reached = others.filter(([, target]) => mayReach(port, target));
    if (reached.length === 0) return { drop: others.length > 0 ? 'isolated' : 'no_destination' };
    return { sent: new Map(reached.map(([other, target]) => [other, this.leave(port, target, vid, frame)])) };
  }

  /** The frame as it leaves by a port. */
  private leave(from: ReferencePort, to: ReferencePort, vid: number, frame: ReferenceFrame): ReferenceFrame {
    const ours = this.protocolOf(from);
    const first = frame.tags[0];
    const tag = ours !== 0 && first?.protocol === ours ? first : null;
    const payload = tag === null ? frame.tags : frame.tags.slice(1);
    const isAmbiguous = tag !== null && payload[0]?.protocol === ours;
    const wanted = this.wantedVid(to, vid, isAmbiguous);
    if (wanted === 0) return { ...frame, tags: payload };
    const outer = { protocol: this.protocolOf(to), vid: wanted, priority: tag?.priority ?? 0 };
    return { ...frame, tags: [outer, ...payload] };
  }

  private wantedVid(to: ReferencePort, vid: number, isAmbiguous: boolean): number {
    if (this.networkOf(to).protocol === 0) return to.tagged[0] ?? 0;
    const staysTagged = isAmbiguous && to.tagged.length > 0;
    return to.native === vid && !staysTagged ? 0 : vid;
  }
}

function isGroup(mac: string): boolean {
  return Number.parseInt(mac.slice(0, 2), 16) % 2 === 1;
}

/** Open ports (0) reach all; isolated ones (1) open ports; groups their own and open ports. */
function mayReach(a: ReferencePort, b: ReferencePort): boolean {
  if (a.isolation === 0 || b.isolation === 0) return true;
  return a.isolation !== 1 && a.isolation === b.isolation;
}

/** The frame's bytes, 60 at least. */
export function bytesOf(frame: ReferenceFrame, padding: number): Uint8Array {
  const octets = (mac: string): number[] => mac.split(':').map((octet) => Number.parseInt(octet, 16));
  const word = (value: number): number[] => [value >> 8, value & 255];
  const tags = frame.tags.flatMap((tag) => [...word(tag.protocol), ...word((tag.priority << 12) | tag.vid)]);
  const payload = Array.from({ length: padding }, (_, i) => (i * 7) & 255);
  return Uint8Array.from([...octets(frame.to), ...octets(frame.from), ...tags, ...word(frame.etherType), ...payload]);
}
