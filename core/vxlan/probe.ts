/**
 * Probes through VTEPs: whether UDP, TCP and full-size packets get through undamaged. They take the way of an endpoint's packets, through
 * offloads and encapsulation, and the Tapline at the other end answers in kind, with what it found. Others do not know of them.
 */

import type { Dataplane } from '../dataplane.js';
import { DROP_NOT_LISTENING } from '../drop.js';
import type { Packet } from '../packet/packet.js';
import type { Domain, Port } from '../ports.js';
import { PortRate } from '../router/port-rate.js';
import { Random } from '../router/random.js';
import type { PortVlan } from '../switch/vlan.js';
import { LOCAL, refuse } from '../verdict.js';
import { VLAN_TAG_LENGTH } from '../wire/vlan.js';
import {
  isProbeIntact,
  PROBE_ANSWER,
  PROBE_KINDS,
  PROBE_MAC_HIGH,
  PROBE_MAC_LOW,
  PROBE_QUESTION,
  type ProbeFields,
  probeLength,
  readProbe,
  writeProbe,
} from './probe-frame.js';
import type { RemoteVtep } from './vtep.js';

export { PROBE_FULL_SIZE, PROBE_TCP, PROBE_UDP } from './probe-frame.js';

/** Outcomes: nothing has come back yet; an answer has; an answer, and one of the two was damaged on its way. */
export const PROBE_PENDING = 0;
export const PROBE_ANSWERED = 1;
export const PROBE_DAMAGED = 2;

/** Answers a second to one VTEP, and at once: each is as large as what it answers. */
const ANSWERS = 100;
const ANSWERS_AT_ONCE = 30;
/** Where no MTU is known: the least that IPv6 asks for. */
const LEAST_MTU = 1280;
const MICROSECONDS = 1000;

/** What was sent through one VTEP, each array by kind. */
class Round {
  readonly port: number;
  readonly id: number;
  readonly outcomes = new Int32Array(PROBE_KINDS);
  /** Milliseconds: when it was sent, and how long the answer took. */
  readonly sentAt = new Int32Array(PROBE_KINDS);
  readonly took = new Int32Array(PROBE_KINDS);

  constructor(port: number, id: number) {
    this.port = port;
    this.id = id;
  }
}

export class Prober {
  private readonly dataplane: Dataplane;
  private readonly random: Random;
  private readonly rate = new PortRate(ANSWERS, ANSWERS_AT_ONCE);
  private readonly fields: ProbeFields = { kind: 0, direction: 0, isDamaged: false, id: 0, length: 0 };
  /** Of the last `send`. */
  private rounds: Round[] = [];

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
    this.random = new Random(dataplane.router.seed);
  }

  /**
   * Sends a probe of each kind through each VTEP; what was sent before is forgotten. One that finds no slot stays without an answer.
   * @param ports that stand for VTEPs
   * @throws RangeError where one does not; then nothing was sent
   */
  send(ports: readonly number[]): void {
    const { dataplane } = this;
    for (const port of ports) {
      if (port <= 0 || (dataplane.ports[port]?.vtep ?? null) === null)
        throw new RangeError(`port number ${port} stands for no VTEP`);
    }
    this.rounds = ports.map((port) => new Round(port, this.random.between(0, 0x7fffffff)));
    for (const round of this.rounds) {
      for (let kind = 0; kind < PROBE_KINDS; kind++) {
        const port = dataplane.ports[round.port];
        const length = probeLength(kind, this.mtuOf(port));
        round.sentAt[kind] = dataplane.milliseconds;
        this.sendOne(port, { kind, direction: PROBE_QUESTION, isDamaged: false, id: round.id, length });
      }
    }
  }

  /** PROBE_RECORD words each (control/worker-protocol.ts), for the ports that were sent to last. */
  list(): Int32Array {
    const words: number[] = [];
    for (const { port, outcomes, took } of this.rounds) {
      words.push(port);
      for (let kind = 0; kind < PROBE_KINDS; kind++) words.push(outcomes[kind], took[kind] * MICROSECONDS);
    }
    return Int32Array.from(words);
  }

  /** Whether a parsed frame is a probe, or is meant to be one. */
  isProbe(packet: Packet): boolean {
    return packet.dstLow === PROBE_MAC_LOW && packet.dstHigh === PROBE_MAC_HIGH;
  }

  /**
   * For such a frame out of a tunnel: a question is answered, through the same VTEP, an answer noted.
   * @param port that stands for the VTEP
   * @returns LOCAL; DROP with `packet.reason`: it is none after all
   */
  receive(packet: Packet, port: Port): number {
    const { fields } = this;
    const { view } = this.dataplane.arena;
    if (!readProbe(view, packet, fields)) return refuse(packet, DROP_NOT_LISTENING);
    const isIntact = isProbeIntact(view, packet, fields);
    if (fields.direction === PROBE_ANSWER) this.note(port, isIntact && !fields.isDamaged);
    else if (this.rate.admit(port.id, this.dataplane.milliseconds)) this.answer(packet, port, isIntact);
    return LOCAL;
  }

  /** In kind, and as large as the question came. */
  private answer(packet: Packet, port: Port, isIntact: boolean): void {
    const { kind, id } = this.fields;
    const length = packet.l3End - packet.l3;
    this.sendOne(port, { kind, direction: PROBE_ANSWER, isDamaged: !isIntact, id, length });
  }

  /** The first answer counts: a group of VTEPs gives several, each by the port of its own. */
  private note(port: Port, isIntact: boolean): void {
    const { kind, id } = this.fields;
    const round = this.rounds.find((one) => one.id === id && this.mayAnswer(port, this.dataplane.ports[one.port]));
    if (round === undefined || round.outcomes[kind] !== PROBE_PENDING) return;
    round.outcomes[kind] = isIntact ? PROBE_ANSWERED : PROBE_DAMAGED;
    round.took[kind] = (this.dataplane.milliseconds - round.sentAt[kind]) | 0;
  }

  private mayAnswer(port: Port, asked: Port): boolean {
    return port === asked || (asked.vtep?.isGroup === true && port.network === asked.network);
  }

  private sendOne(port: Port, fields: ProbeFields): void {
    const { dataplane } = this;
    const domain = this.domainOf(port);
    const packet = domain === null ? null : dataplane.router.begin();
    if (packet === null) return;
    const { local } = port.vtep as RemoteVtep;
    writeProbe(dataplane.arena, packet, fields, local.macHigh, local.macLow);
    dataplane.originateTo(packet, domain as Domain, port.id);
  }

  /** Where its untagged frames belong; of a trunk without any, one of its VLANs. */
  private domainOf({ vlan, domain }: Port): Domain | null {
    if (vlan === null) return this.dataplane.topology.domainOf(domain);
    return this.dataplane.topology.domainOf(isTagged(vlan) ? (vlan.fids.find(isThere) ?? 0) : vlan.nativeFid);
  }

  /** Bytes of the largest inner packet, as far as is known. A tag takes its part. */
  private mtuOf(port: Port): number {
    const { mtu } = port.vtep as RemoteVtep;
    const least = mtu > 0 ? mtu : (this.domainOf(port)?.gateway?.mtu ?? LEAST_MTU);
    return port.vlan !== null && isTagged(port.vlan) ? least - VLAN_TAG_LENGTH : least;
  }
}

function isTagged({ nativeFid }: PortVlan): boolean {
  return nativeFid === 0;
}

function isThere(fid: number): boolean {
  return fid !== 0;
}
