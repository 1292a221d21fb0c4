/** Flows as plain objects, and a table that is filled with them. */

import {
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SOURCE,
  FLOW_STATE,
  FLOW_WORDS,
  isIpv6Kind,
} from '../../../core/nat/flow.js';
import {
  ADDRESS_WORDS,
  CLASS_CLOSING,
  CLASS_EMBRYONIC,
  CLASS_ESTABLISHED,
  classOf,
  FlowTable,
  flowAddressBytes,
  flowTableBytes,
} from '../../../core/nat/flow-table.js';

/** Addresses of one word in IPv4, of four in IPv6. */
export interface Tuple {
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly ports: number;
}

export interface Spec {
  readonly kind: number;
  readonly original: Tuple;
  readonly reply: Tuple;
}

export interface Memory {
  readonly words: Int32Array;
  readonly addresses6: Int32Array;
}

export function memoryFor(capacity: number): Memory {
  return {
    words: new Int32Array(flowTableBytes(capacity) / 4),
    addresses6: new Int32Array(flowAddressBytes(capacity) / 4),
  };
}

export function makeTable(capacity: number, memory = memoryFor(capacity), now = 1000, seed = 7): FlowTable {
  return new FlowTable(memory.words, memory.addresses6, capacity, seed, now);
}

/** Writes the tuples into an entry, as callers of `begin` do. */
export function fill(table: FlowTable, flow: number, { kind, original, reply }: Spec): void {
  const { words, addresses6 } = table;
  const at = table.at(flow);
  words[at + FLOW_KIND] = kind;
  words[at + FLOW_PORTS] = original.ports;
  words[at + FLOW_REPLY_PORTS] = reply.ports;
  const addresses = [original.source, original.destination, reply.source, reply.destination];
  if (isIpv6Kind(kind)) {
    addresses.flat().forEach((word, index) => {
      addresses6[flow * ADDRESS_WORDS + index] = word;
    });
    return;
  }
  words[at + FLOW_SOURCE] = original.source[0];
  words[at + FLOW_DESTINATION] = original.destination[0];
  words[at + FLOW_REPLY_SOURCE] = reply.source[0];
  words[at + FLOW_REPLY_DESTINATION] = reply.destination[0];
}

/** Number of the new flow, or -1: no entry, or a tuple that is taken. */
export function add(table: FlowTable, spec: Spec, state: number, owner = 1): number {
  const flow = table.begin();
  if (flow < 0) return -1;
  fill(table, flow, spec);
  return table.commit(flow, FLOW_LIVE | state, owner) ? flow : -1;
}

/** By all the ways there are, which must agree. */
export function find(table: FlowTable, kind: number, { source, destination, ports }: Tuple): number {
  if (!isIpv6Kind(kind)) {
    const found = table.find4(kind, source[0], destination[0], ports);
    if (table.isTaken4(kind, source[0], destination[0], ports) !== found >= 0) throw new Error('isTaken4 disagrees');
    return found;
  }
  const words = Int32Array.from([...source, ...destination]);
  const found = table.findWords6(kind, words, ports);
  // In a packet, in network order, where an Ethernet header puts it.
  const view = new DataView(new ArrayBuffer(64));
  words.forEach((word, index) => {
    view.setInt32(22 + index * 4, word);
  });
  if (table.find6(kind, view, 22, ports) !== found) throw new Error('find6 and findWords6 disagree');
  return found;
}

/** The tuples of an entry, as they stand in the memory. */
export function specOf({ words, addresses6 }: Memory, flow: number): Spec {
  const at = flow * FLOW_WORDS;
  const kind = words[at + FLOW_KIND];
  const six = (from: number): number[] => [...addresses6.subarray(flow * 16 + from, flow * 16 + from + 4)];
  const [a, b, c, d] = isIpv6Kind(kind)
    ? [six(0), six(4), six(8), six(12)]
    : [FLOW_SOURCE, FLOW_DESTINATION, FLOW_REPLY_SOURCE, FLOW_REPLY_DESTINATION].map((word) => [words[at + word]]);
  return {
    kind,
    original: { source: a, destination: b, ports: words[at + FLOW_PORTS] },
    reply: { source: c, destination: d, ports: words[at + FLOW_REPLY_PORTS] },
  };
}

/** What is wrong between entries, index, lists and counts; empty where they agree. */
export function inconsistencies(table: FlowTable): string[] {
  const wrong: string[] = [];
  const owners = new Map<number, number>();
  const classes = [0, 0, 0];
  let live = 0;
  let tuples = 0;
  table.forEach((flow) => {
    live++;
    const { kind, original, reply } = specOf(table, flow);
    if (find(table, kind, original) !== flow * 2) wrong.push(`flow ${flow}: not found by its original tuple`);
    const isOne = JSON.stringify(original) === JSON.stringify(reply);
    tuples += isOne ? 1 : 2;
    if (find(table, kind, reply) !== flow * 2 + (isOne ? 0 : 1))
      wrong.push(`flow ${flow}: not found by its reply tuple`);
    const owner = table.ownerOf(flow);
    owners.set(owner, (owners.get(owner) ?? 0) + 1);
    classes[classOf(table.words[table.at(flow) + FLOW_STATE])]++;
  });
  if (live !== table.count) wrong.push(`count ${table.count}, flows ${live}`);
  for (const [owner, flows] of owners) {
    if (table.ownerCount(owner) !== flows) wrong.push(`owner ${owner}: ${table.ownerCount(owner)} of ${flows}`);
  }
  for (const flowClass of [CLASS_EMBRYONIC, CLASS_CLOSING, CLASS_ESTABLISHED]) {
    if (table.classCount(flowClass) !== classes[flowClass]) wrong.push(`class ${flowClass}: ${classes[flowClass]}`);
  }
  const { places } = (table as unknown as { index: { places: Int32Array } }).index;
  const taken = places.reduce((sum, word) => sum + (word === 0 ? 0 : 1), 0);
  if (taken !== tuples) wrong.push(`index: ${taken} places of ${live} flows`);
  return wrong;
}
