/** The table of flows alone: search by either tuple among few and many flows, and flows that come and go. */

import {
  FLOW_DESTINATION,
  FLOW_KIND,
  FLOW_LIVE,
  FLOW_PORTS,
  FLOW_REPLY_DESTINATION,
  FLOW_REPLY_PORTS,
  FLOW_REPLY_SOURCE,
  FLOW_SOURCE,
  FLOW_WORDS,
  kindOf,
  STATE_ESTABLISHED,
  STATE_SYN_SENT,
} from '../../core/nat/flow.js';
import { flowIndexBytes } from '../../core/nat/flow-index.js';
import { ADDRESS_WORDS, FlowTable, flowAddressBytes, flowTableBytes } from '../../core/nat/flow-table.js';
import { mapRegion } from '../../io/memory.js';
import { Random } from './random.js';
import type { Case } from './suite.js';

/** Entries, as many as the daemon has by default. */
const CAPACITY = 2 ** 20;
/** Tuples that are looked up in turn; a power of two. */
const QUERIES = 2 ** 16;
const BATCH = 1024;
const OWNER = 2;
const NOW = 1000;

const TCP4 = kindOf(0, 6, false);
const TCP6 = kindOf(0, 6, true);
const SERVER = 0x5db8d822;
const EXTERNAL = 0x0a4d0001;

function makeTable(): FlowTable {
  const map = (bytes: number): Int32Array => new Int32Array(mapRegion(bytes, true).buffer);
  const words = map(flowTableBytes(CAPACITY));
  const addresses6 = map(flowAddressBytes(CAPACITY));
  return new FlowTable(words, addresses6, CAPACITY, 0x51ab1e, NOW, map(flowIndexBytes(CAPACITY)));
}

/** A masqueraded connection; `index` tells them apart, up to 2^22. */
function fill4({ words }: FlowTable, flow: number, index: number): void {
  const at = flow * FLOW_WORDS;
  const server = SERVER + (index >>> 15);
  words[at + FLOW_KIND] = TCP4;
  words[at + FLOW_SOURCE] = 0xac1e0002 + ((index & 0x7fff) >> 7);
  words[at + FLOW_DESTINATION] = server;
  words[at + FLOW_PORTS] = ((32768 + (index & 0x7fff)) << 16) | 443;
  words[at + FLOW_REPLY_SOURCE] = server;
  words[at + FLOW_REPLY_DESTINATION] = EXTERNAL;
  words[at + FLOW_REPLY_PORTS] = (443 << 16) | (1024 + (index & 0x7fff));
}

/** The same without translation. */
function fill6({ words, addresses6 }: FlowTable, flow: number, index: number): void {
  const at = flow * FLOW_WORDS;
  const six = flow * ADDRESS_WORDS;
  words[at + FLOW_KIND] = TCP6;
  words[at + FLOW_PORTS] = (32768 << 16) | 443;
  words[at + FLOW_REPLY_PORTS] = (443 << 16) | 32768;
  for (const [from, last] of [
    [0, index],
    [4, SERVER],
    [8, SERVER],
    [12, index],
  ]) {
    addresses6[six + from] = 0x20010db8;
    addresses6[six + from + 1] = 0;
    addresses6[six + from + 2] = 0;
    addresses6[six + from + 3] = last;
  }
}

function populate(table: FlowTable, flows: number, fill: typeof fill4): void {
  for (let index = 0; index < flows; index++) {
    const flow = table.begin();
    fill(table, flow, index);
    if (!table.commit(flow, FLOW_LIVE | STATE_ESTABLISHED, OWNER)) throw new Error(`flow ${index} is there already`);
  }
}

/** Tuples of flows at random, of both directions in turn. */
function queries4(
  table: FlowTable,
  flows: number,
): { sources: Int32Array; destinations: Int32Array; ports: Int32Array } {
  const random = new Random(11);
  const sources = new Int32Array(QUERIES);
  const destinations = new Int32Array(QUERIES);
  const ports = new Int32Array(QUERIES);
  for (let i = 0; i < QUERIES; i++) {
    const at = random.next(flows) * FLOW_WORDS + (i & 1) * (FLOW_REPLY_SOURCE - FLOW_SOURCE);
    sources[i] = table.words[at + FLOW_SOURCE];
    destinations[i] = table.words[at + FLOW_DESTINATION];
    ports[i] = table.words[at + FLOW_PORTS];
  }
  return { sources, destinations, ports };
}

type Target = Pick<Case, 'bar' | 'aim'>;

function lookup4(name: string, flows: number, target: Target): Case {
  let table: FlowTable;
  let queries: ReturnType<typeof queries4>;
  let at = 0;
  let missed = 0;
  return {
    name,
    unit: 'lookups',
    perCall: BATCH,
    ...target,
    prepare: () => {
      table = makeTable();
      populate(table, flows, fill4);
      queries = queries4(table, flows);
    },
    run: () => {
      const { sources, destinations, ports } = queries;
      for (let i = at; i < at + BATCH; i++) {
        if (table.find4(TCP4, sources[i], destinations[i], ports[i]) < 0) missed++;
      }
      at = (at + BATCH) & (QUERIES - 1);
    },
    check: () => missed === 0 && table.count === flows,
  };
}

/** Addresses as they stand in packets. */
function lookup6(name: string, flows: number, target: Target): Case {
  let table: FlowTable;
  const packets = new DataView(new ArrayBuffer(QUERIES * 32));
  let at = 0;
  let missed = 0;
  return {
    name,
    unit: 'lookups',
    perCall: BATCH,
    ...target,
    prepare: () => {
      table = makeTable();
      populate(table, flows, fill6);
      const random = new Random(12);
      for (let i = 0; i < QUERIES; i++) {
        const from = random.next(flows) * ADDRESS_WORDS;
        for (let word = 0; word < 8; word++) packets.setInt32(i * 32 + word * 4, table.addresses6[from + word]);
      }
    },
    run: () => {
      for (let i = at; i < at + BATCH; i++) {
        if (table.find6(TCP6, packets, i * 32, (32768 << 16) | 443) < 0) missed++;
      }
      at = (at + BATCH) & (QUERIES - 1);
    },
    check: () => missed === 0 && table.count === flows,
  };
}

/** Each is begun, answered and ended. @param others flows that are there meanwhile */
function comeAndGo(name: string, others: number, target: Target): Case {
  let table: FlowTable;
  let index = others;
  return {
    name,
    unit: 'flows',
    perCall: BATCH,
    ...target,
    prepare: () => {
      table = makeTable();
      populate(table, others, fill4);
    },
    run: () => {
      for (let i = 0; i < BATCH; i++) {
        const flow = table.begin();
        fill4(table, flow, index);
        if (!table.commit(flow, FLOW_LIVE | STATE_SYN_SENT, OWNER)) throw new Error(`flow ${index} is there already`);
        table.setState(flow, FLOW_LIVE | STATE_ESTABLISHED);
        table.remove(flow);
        // Between the others' numbers and the first that would be the same again.
        index = index + 1 < 2 ** 22 ? index + 1 : others;
      }
    },
    check: () => table.count === others && table.created > others && table.evicted === 0,
  };
}

/** What a process does with what its predecessor left. */
function takeOver(name: string, flows: number, target: Target): Case {
  let table: FlowTable;
  let recovered = 0;
  return {
    name,
    unit: 'flows',
    perCall: flows,
    ...target,
    prepare: () => {
      table = makeTable();
      populate(table, flows, fill4);
    },
    run: () => {
      recovered = new FlowTable(table.words, table.addresses6, CAPACITY, 0x51ab1f, NOW + 1).recovered;
    },
    check: () => recovered === flows,
  };
}

export function flowTableCases(): Case[] {
  return [
    lookup4('flow table, IPv4, 1,000 flows', 1000, { bar: 30e6, aim: 66e6 }),
    lookup4('flow table, IPv4, a million flows', 1_000_000, {}),
    lookup6('flow table, IPv6, 1,000 flows', 1000, { bar: 20e6 }),
    lookup6('flow table, IPv6, a million flows', 1_000_000, {}),
    comeAndGo('flow table, new, answered, ended, among 1,000', 1000, { bar: 3e6 }),
    comeAndGo('flow table, new, answered, ended, among a million', 1_000_000, { bar: 1e6 }),
    takeOver('flow table taken over, 100,000 flows', 100_000, { bar: 2e6 }),
    takeOver('flow table taken over, a million flows', 1_000_000, { bar: 1.7e6 }),
  ];
}
