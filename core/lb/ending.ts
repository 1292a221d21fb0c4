/**
 * The end of a backend's flows: it has gone, or has drained long enough. UDP is forgotten, and balanced anew with the next datagram. Both
 * ends of a TCP connection are told by RST, with the numbers that they expect: neither waits for what does not come any more.
 */

import type { Dataplane } from '../dataplane.js';
import {
  FLOW_BALANCED,
  FLOW_DESTINATION,
  FLOW_DIRECT,
  FLOW_KIND,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
  protocolOfKind,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_MASK,
  STATE_SYN_RECEIVED,
  zoneOfKind,
} from '../nat/flow.js';
import type { FlowTable } from '../nat/flow-table.js';
import { ResetContent, writeReset } from '../nat/reset-frame.js';
import { TCP_END } from '../nat/tcp-words.js';
import { MAPPED } from '../router/address.js';
import type { RouterInterface } from '../router/interface.js';
import { PROTOCOL_TCP } from '../wire/ipv4.js';

/** Where an end's address stands in the words of a flow, and in those of an IPv6 flow's addresses. */
interface Corner {
  readonly word: number;
  readonly at6: number;
}

const SOURCE: Corner = { word: FLOW_SOURCE, at6: 0 };
const DESTINATION: Corner = { word: FLOW_DESTINATION, at6: 4 };
const REPLY_SOURCE: Corner = { word: FLOW_REPLY_SOURCE, at6: 8 };
const REPLY_DESTINATION: Corner = { word: FLOW_REPLY_DESTINATION, at6: 12 };

export class FlowEnding {
  /** Resets sent. */
  sent = 0;
  private readonly dataplane: Dataplane;
  private readonly table: FlowTable;
  private readonly content = new ResetContent();
  private readonly address = new Int32Array(4);

  constructor(dataplane: Dataplane) {
    this.dataplane = dataplane;
    this.table = dataplane.router.flows.table;
  }

  /**
   * @param tcp false: TCP goes on
   * @param from number of the first flow to look at
   * @param limit flows to look at
   * @returns how many have ended, and where to go on; -1: that was all
   */
  end(backend: number, tcp: boolean, from: number, limit: number): { removed: number; next: number } {
    const { table } = this;
    let removed = 0;
    let flow = table.nextFrom(from);
    for (let looked = 0; flow >= 0 && looked < limit; looked++, flow = table.nextFrom(flow + 1)) {
      const state = table.words[flow * FLOW_WORDS + FLOW_STATE];
      if ((state & FLOW_BALANCED) === 0 || table.backendOf(flow) !== backend) continue;
      const isTcp = protocolOfKind(table.words[flow * FLOW_WORDS + FLOW_KIND]) === PROTOCOL_TCP;
      if (isTcp && !tcp) continue;
      if (isTcp && hasBegun(state)) this.reset(flow, state);
      table.remove(flow);
      removed++;
    }
    return { removed, next: flow };
  }

  private reset(flow: number, state: number): void {
    // Of direct server return nobody has seen the backend's numbers.
    if ((state & FLOW_DIRECT) !== 0) return;
    const { words } = this.table;
    const at = flow * FLOW_WORDS;
    const ends = [words[at + TCP_END], words[at + TCP_END + 1]];
    // As from the backend to the client, and as from the client to the backend: the flow translates both.
    this.say(flow, REPLY_SOURCE, REPLY_DESTINATION, words[at + FLOW_REPLY_PORTS], ends[1], ends[0]);
    this.say(flow, SOURCE, DESTINATION, words[at + FLOW_PORTS], ends[0], ends[1]);
  }

  private say(flow: number, from: Corner, to: Corner, ports: number, sequence: number, acknowledgment: number): void {
    const { dataplane, content } = this;
    const iface = this.ifaceBehind(flow, from);
    const reset = iface === null ? null : dataplane.router.begin();
    if (iface === null || reset === null) return;
    this.read(flow, from, content.addresses, 0);
    this.read(flow, to, content.addresses, 4);
    content.ports = ports;
    content.sequence = sequence;
    content.acknowledgment = acknowledgment;
    content.acknowledges = true;
    writeReset(dataplane.arena, reset, content);
    this.sent++;
    dataplane.inject(reset, iface);
  }

  private read(flow: number, { word, at6 }: Corner, into: Int32Array, at: number): void {
    const { words, addresses6 } = this.table;
    const isIpv6 = isIpv6Kind(words[flow * FLOW_WORDS + FLOW_KIND]);
    for (let i = 0; i < 4; i++) into[at + i] = isIpv6 ? addresses6[flow * 16 + at6 + i] : 0;
    if (isIpv6) return;
    into[at + 2] = MAPPED;
    into[at + 3] = words[flow * FLOW_WORDS + word];
  }

  /** The interface that packets of one end come in by. */
  private ifaceBehind(flow: number, corner: Corner): RouterInterface | null {
    const { router } = this.dataplane;
    const { address } = this;
    this.read(flow, corner, address, 0);
    const zone = zoneOfKind(this.table.words[flow * FLOW_WORDS + FLOW_KIND]);
    const number = router.flows.opener.ifaceTo(zone, address);
    return router.interfaces[number] ?? null;
  }
}

/** Whether both ends have heard of each other, and neither has forgotten it. */
function hasBegun(state: number): boolean {
  const stage = state & STATE_MASK;
  return stage === STATE_SYN_RECEIVED || stage === STATE_ESTABLISHED || stage === STATE_FIN;
}
