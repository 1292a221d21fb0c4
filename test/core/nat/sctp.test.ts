/** The stages of an SCTP association and its verification tags (RFC 9260), edge by edge; and a recorded one. */

import test from 'ava';
import { DROP_NONE, DROP_REASONS } from '../../../core/drop.js';
import {
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  FLOW_LIVE,
  FLOW_LOOSE,
  FLOW_REPLIED,
  FLOW_STATE,
  FLOW_WORDS,
  STATE_CLOSING,
  STATE_FIN,
  STATE_MASK,
  STATE_RESET,
  STATE_SCTP_ESTABLISHED,
  STATE_SCTP_OPENING,
} from '../../../core/nat/flow.js';
import { isSctpInit, openSctp, trackSctp } from '../../../core/nat/sctp.js';
import { TCP_REOPEN } from '../../../core/nat/tcp.js';
import { Arena, SLOT_STRIDE, VNET_HEADER_LENGTH } from '../../../core/packet/arena.js';
import { Packet } from '../../../core/packet/packet.js';
import { clearVnetHeader } from '../../../core/packet/vnet.js';
import { parse } from '../../../core/wire/parse.js';
import { corpusDirectory, corpusNote, loadCaptures } from '../../support/corpus.js';

const A = DIRECTION_ORIGINAL;
const B = DIRECTION_REPLY;
/** What A chose, and so what B's packets have; what B chose. */
const TAG_A = 0xaaaa_0001;
const TAG_B = 0xbbbb_0002;
const TAG_NEW_A = 0xa0a0_0003;
const TAG_NEW_B = 0xb0b0_0004;

const DATA = 0;
const SACK = 3;
const HEARTBEAT = 4;
const HEARTBEAT_ACK = 5;
const ABORT = 6;
const SHUTDOWN = 7;
const SHUTDOWN_ACK = 8;
const ERROR = 9;
const COOKIE_ECHO = 10;
const COOKIE_ACK = 11;
const SHUTDOWN_COMPLETE = 14;

const L4 = 34;
const NAMES: Readonly<Record<number, string>> = {
  [STATE_SCTP_OPENING]: 'opening',
  [STATE_SCTP_ESTABLISHED]: 'established',
  [STATE_FIN]: 'fin',
  [STATE_CLOSING]: 'closing',
  [STATE_RESET]: 'reset',
};

function chunk(type: number, body: readonly number[] = [], flags = 0): number[] {
  const length = 4 + body.length;
  return [type, flags, length >> 8, length & 0xff, ...body, ...new Array((4 - (length & 3)) & 3).fill(0)];
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

/** INIT or INIT ACK that chooses a tag. */
function initiate(type: number, tag: number): number[] {
  return chunk(type, [...word(tag), ...word(65_536), 0, 10, 0, 10, ...word(1)]);
}

const init = (tag: number) => initiate(1, tag);
const initAck = (tag: number) => initiate(2, tag);
const data = chunk(DATA, [...word(1), 0, 0, 0, 0, ...word(0), 1, 2, 3]);

class Association {
  readonly at = FLOW_WORDS;
  readonly words = new Int32Array(2 * FLOW_WORDS);
  readonly packet = new Packet(0);
  view = new DataView(new ArrayBuffer(0));

  get state(): number {
    return this.words[this.at + FLOW_STATE];
  }

  get stage(): string {
    return NAMES[this.state & STATE_MASK] ?? `${this.state & STATE_MASK}`;
  }

  open(tag: number, ...chunks: number[][]): string {
    this.load(tag, chunks);
    return this.start(this.view, this.packet);
  }

  start(view: DataView, packet: Packet): string {
    const bits = openSctp(this.words, this.at, view, packet);
    if (bits < 0) return DROP_REASONS[-bits].name;
    this.words[this.at + FLOW_STATE] = bits | FLOW_LIVE;
    return this.stage;
  }

  from(direction: number, tag: number, ...chunks: number[][]): string {
    this.load(tag, chunks);
    return this.follow(direction, this.view, this.packet);
  }

  follow(direction: number, view: DataView, packet: Packet): string {
    const result = trackSctp(this.words, this.at, direction, view, packet);
    if (result === TCP_REOPEN) return 'reopen';
    if (result < 0) return DROP_REASONS[-result].name;
    if ((result & FLOW_LIVE) === 0) throw new Error(`no state of a flow: ${result}`);
    this.words[this.at + FLOW_STATE] = result;
    return this.stage;
  }

  load(tag: number, chunks: readonly number[][]): void {
    this.raw([0x9c, 0x40, 0x0b, 0x59, ...word(tag), 0, 0, 0, 0, ...chunks.flat()]);
  }

  /** At the end of the memory: whatever reads behind it throws. */
  raw(bytes: readonly number[]): void {
    const memory = new Uint8Array(L4 + bytes.length);
    memory.set(bytes, L4);
    this.view = new DataView(memory.buffer);
    this.packet.l4 = L4;
    this.packet.l3End = memory.length;
  }
}

function established(): Association {
  const association = new Association();
  association.open(0, init(TAG_A));
  association.from(B, TAG_A, initAck(TAG_B));
  association.from(A, TAG_B, chunk(COOKIE_ECHO, [1, 2, 3]));
  association.from(B, TAG_A, chunk(COOKIE_ACK));
  return association;
}

test('INIT, INIT ACK, COOKIE ECHO, COOKIE ACK', (t) => {
  const association = new Association();
  t.is(association.open(0, init(TAG_A)), 'opening');
  t.is(association.state & (FLOW_REPLIED | FLOW_LOOSE), 0);
  t.is(association.from(B, TAG_A, initAck(TAG_B)), 'opening');
  t.not(association.state & FLOW_REPLIED, 0);
  t.is(association.from(A, TAG_B, chunk(COOKIE_ECHO, [1, 2, 3]), data), 'opening');
  t.is(association.from(B, TAG_A, chunk(COOKIE_ACK), chunk(SACK, word(1))), 'established');
  t.is(association.from(A, TAG_B, data), 'established');
  t.is(association.from(B, TAG_A, data), 'established');
});

test('the COOKIE ACK is lost before here, data of its side stands for it', (t) => {
  const association = new Association();
  association.open(0, init(TAG_A));
  association.from(B, TAG_A, initAck(TAG_B));
  association.from(A, TAG_B, chunk(COOKIE_ECHO, [1]));
  t.is(association.from(A, TAG_B, data), 'opening');
  t.is(association.from(B, TAG_A, chunk(SACK, word(1))), 'established');
});

test('INIT is repeated, and each gets an INIT ACK with another tag: either may be taken', (t) => {
  for (const taken of [TAG_B, TAG_NEW_B]) {
    const association = new Association();
    association.open(0, init(TAG_A));
    t.is(association.from(A, 0, init(TAG_A)), 'opening');
    t.is(association.from(B, TAG_A, initAck(TAG_B)), 'opening');
    t.is(association.from(B, TAG_A, initAck(TAG_NEW_B)), 'opening');
    t.is(association.from(A, 0x1234, chunk(COOKIE_ECHO, [1])), 'no_flow');
    t.is(association.from(A, taken, chunk(COOKIE_ECHO, [1])), 'opening');
    t.is(association.from(B, TAG_A, chunk(COOKIE_ACK)), 'established');
    t.is(association.from(A, taken, data), 'established');
  }
});

test('INIT with another tag before any answer begins anew', (t) => {
  const association = new Association();
  association.open(0, init(TAG_A));
  t.is(association.from(A, 0, init(TAG_NEW_A)), 'opening');
  t.is(association.from(B, TAG_A, initAck(TAG_B)), 'no_flow');
  t.is(association.from(B, TAG_NEW_A, initAck(TAG_B)), 'opening');
});

test('INIT of both sides at once (RFC 9260, 5.2.1)', (t) => {
  const association = new Association();
  association.open(0, init(TAG_A));
  t.is(association.from(B, 0, init(TAG_B)), 'opening');
  t.is(association.from(A, TAG_B, initAck(TAG_A)), 'opening');
  t.is(association.from(B, TAG_A, initAck(TAG_B)), 'opening');
  t.is(association.from(A, TAG_B, chunk(COOKIE_ECHO, [1])), 'opening');
  t.is(association.from(B, TAG_A, chunk(COOKIE_ECHO, [1])), 'opening');
  t.is(association.from(B, TAG_A, chunk(COOKIE_ACK)), 'established');
});

test('a wrong verification tag is dropped, ABORT above all (RFC 9260, 8.5)', (t) => {
  const association = established();
  const tags = [0, TAG_A + 1, TAG_NEW_A, 1];
  for (const type of [
    DATA,
    SACK,
    HEARTBEAT,
    ABORT,
    SHUTDOWN,
    SHUTDOWN_ACK,
    ERROR,
    COOKIE_ACK,
    SHUTDOWN_COMPLETE,
    192,
  ]) {
    for (const tag of tags) {
      t.is(association.from(A, tag, chunk(type)), 'no_flow', `${type}`);
      t.is(association.from(B, tag, chunk(type)), 'no_flow', `${type}`);
    }
    t.is(association.from(A, TAG_A, chunk(type)), 'no_flow', `${type}: its own tag`);
  }
  t.is(association.stage, 'established');
});

test('SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE', (t) => {
  const association = established();
  t.is(association.from(A, TAG_B, chunk(SHUTDOWN, word(1))), 'fin');
  t.is(association.from(B, TAG_A, data), 'fin');
  t.is(association.from(A, TAG_B, chunk(SHUTDOWN, word(2))), 'fin');
  t.is(association.from(B, TAG_A, chunk(SHUTDOWN_ACK)), 'closing');
  t.is(association.from(A, TAG_B, chunk(SHUTDOWN_COMPLETE)), 'closing');
  t.is(association.from(A, TAG_B, chunk(SHUTDOWN, word(2))), 'closing', 'an old duplicate');
  t.is(association.from(A, 0, init(TAG_NEW_A)), 'reopen');
});

test('SHUTDOWN COMPLETE and ABORT of a host that has no association any more: the tag is reflected (RFC 9260, 8.5.1)', (t) => {
  const closing = established();
  t.is(closing.from(B, TAG_B, chunk(SHUTDOWN_COMPLETE)), 'no_flow', 'without the flag');
  t.is(closing.from(B, TAG_B, chunk(SHUTDOWN_COMPLETE, [], 1)), 'closing');
  const aborted = established();
  t.is(aborted.from(B, TAG_A, chunk(ABORT, [], 1)), 'no_flow');
  t.is(aborted.from(B, TAG_B, chunk(ABORT, [], 1)), 'reset');
});

test('ABORT, alone or behind other chunks; what is under way then passes and revives nothing', (t) => {
  for (const chunks of [[chunk(ABORT)], [chunk(ERROR, [0, 1, 0, 4]), chunk(ABORT, word(7))]]) {
    const association = established();
    t.is(association.from(A, TAG_B, ...chunks), 'reset');
    t.is(association.from(B, TAG_A, data), 'reset');
    t.is(association.from(B, TAG_A, chunk(COOKIE_ACK)), 'reset');
    t.is(association.from(A, 0, init(TAG_NEW_A)), 'reopen');
  }
});

test('ABORT in answer to INIT', (t) => {
  const association = new Association();
  association.open(0, init(TAG_A));
  t.is(association.from(B, TAG_B, chunk(ABORT)), 'no_flow');
  t.is(association.from(B, TAG_A, chunk(ABORT)), 'reset');
  t.not(association.state & FLOW_REPLIED, 0);
});

test('a host that has restarted: the old association lasts until the COOKIE ACK (RFC 9260, 5.2.4)', (t) => {
  const association = established();
  t.is(association.from(A, 0, init(TAG_NEW_A)), 'established');
  t.is(association.from(B, TAG_A, data), 'established', 'what was under way');
  t.is(association.from(B, TAG_NEW_A, initAck(TAG_NEW_B)), 'established');
  t.is(association.from(A, TAG_NEW_B, chunk(COOKIE_ECHO, [1])), 'established');
  t.is(association.from(A, TAG_B, data), 'established');
  t.is(association.from(B, TAG_NEW_A, chunk(COOKIE_ACK)), 'established');
  t.is(association.from(A, TAG_NEW_B, data), 'established');
  t.is(association.from(B, TAG_NEW_A, data), 'established');
  t.is(association.from(A, TAG_B, data), 'no_flow');
  t.is(association.from(B, TAG_A, chunk(ABORT)), 'no_flow');
});

test('a restart while the other side shuts down', (t) => {
  const association = established();
  association.from(B, TAG_A, chunk(SHUTDOWN, word(1)));
  association.from(A, 0, init(TAG_NEW_A));
  association.from(B, TAG_NEW_A, initAck(TAG_NEW_B));
  t.is(association.from(A, TAG_NEW_B, chunk(COOKIE_ECHO, [1])), 'fin');
  t.is(association.from(B, TAG_NEW_A, chunk(COOKIE_ACK)), 'established');
});

test('an INIT out of nowhere, and the ABORT that it gets, leave the association alone', (t) => {
  const association = established();
  t.is(association.from(A, 0, init(TAG_NEW_A)), 'established');
  t.is(association.from(B, TAG_NEW_A, chunk(ABORT)), 'established');
  t.is(association.from(B, TAG_NEW_A, data), 'no_flow');
  t.is(association.from(A, TAG_B, data), 'established');
  t.is(association.from(B, TAG_A, data), 'established');
});

test('another path of a host with several addresses begins with a HEARTBEAT (RFC 9260, 5.4)', (t) => {
  const association = new Association();
  t.is(association.open(TAG_B, chunk(HEARTBEAT, [0, 1, 0, 8, 1, 2, 3, 4])), 'opening');
  t.not(association.state & FLOW_LOOSE, 0);
  t.is(association.from(A, TAG_B, chunk(HEARTBEAT, [0, 1, 0, 4])), 'opening');
  t.is(association.from(A, TAG_NEW_B, data), 'no_flow');
  t.is(association.from(B, 0, data), 'no_flow');
  t.is(association.from(B, TAG_A, chunk(HEARTBEAT_ACK, [0, 1, 0, 8, 1, 2, 3, 4])), 'established');
  t.is(association.from(B, TAG_NEW_A, data), 'no_flow', 'its tag is known now');
  t.is(association.from(B, TAG_A, data), 'established');
});

test('what begins an association, and what does not', (t) => {
  const cases: [number, number[][], string][] = [
    [0, [init(TAG_A)], 'opening'],
    [TAG_B, [init(TAG_A)], 'no_flow'],
    [0, [init(0)], 'no_flow'],
    [0, [init(TAG_A), data], 'no_flow'],
    [0, [data, init(TAG_A)], 'no_flow'],
    [0, [chunk(ERROR), init(TAG_A)], 'no_flow'],
    [0, [chunk(1, word(TAG_A))], 'no_flow'],
    [TAG_A, [initAck(TAG_B)], 'no_flow'],
    [TAG_B, [chunk(ABORT)], 'no_flow'],
    [TAG_B, [chunk(SHUTDOWN_ACK)], 'no_flow'],
    [TAG_B, [chunk(SHUTDOWN_COMPLETE)], 'no_flow'],
    [TAG_B, [chunk(COOKIE_ACK)], 'no_flow'],
    [TAG_B, [chunk(192, [1, 2, 3, 4])], 'no_flow'],
    [TAG_B, [data], 'opening'],
    [0, [data], 'no_flow'],
    [TAG_B, [chunk(COOKIE_ECHO, [1])], 'opening'],
    [TAG_B, [], 'no_flow'],
  ];
  for (const [tag, chunks, expected] of cases) {
    const association = new Association();
    t.is(association.open(tag, ...chunks), expected, `${tag} ${chunks}`);
    const isFirst = chunks.length === 1 && expected === 'opening' && tag === 0;
    t.is(isSctpInit(association.view, association.packet), isFirst, `${tag} ${chunks}`);
  }
});

test('INIT and INIT ACK that are no such: with a tag, beside others, too short', (t) => {
  const association = established();
  t.is(association.from(A, TAG_B, init(TAG_NEW_A)), 'no_flow');
  t.is(association.from(A, 0, init(TAG_NEW_A), chunk(COOKIE_ECHO)), 'no_flow');
  t.is(association.from(B, TAG_A, chunk(2, word(TAG_NEW_B))), 'no_flow');
  t.is(association.from(B, TAG_A, chunk(ERROR), initAck(TAG_NEW_B)), 'no_flow');
  t.is(association.from(B, TAG_A, initAck(0)), 'no_flow');
  t.is(association.from(A, TAG_NEW_B, data), 'no_flow');
});

test('chunks that run out of the packet, or make no progress', (t) => {
  const association = established();
  for (const broken of [[0], [0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 3], [3, 0, 0, 8], [3, 0, 255, 255, 1, 2, 3, 4]]) {
    t.is(association.from(A, TAG_B, broken), 'no_flow', `${broken}`);
    t.is(new Association().open(TAG_B, broken), 'no_flow', `${broken}`);
  }
  t.is(association.from(A, TAG_B, chunk(SACK), [6, 0, 0, 3]), 'no_flow', 'behind a good one');
  t.is(association.from(A, TAG_B), 'no_flow');
  association.raw([0x9c, 0x40, 0x0b, 0x59, 0, 0]);
  t.is(association.follow(A, association.view, association.packet), 'no_flow', 'cut in the header');
  t.is(association.from(A, TAG_B, chunk(SACK, [1]).slice(0, 5)), 'established', 'no padding at the end');
});

test('a packet of thousands of chunks is read no further than its first ones', (t) => {
  const association = established();
  const many = new Array(16).fill(chunk(SACK));
  t.is(association.from(A, TAG_B, ...many, chunk(ABORT)), 'established');
  t.is(association.from(A, TAG_B, ...many.slice(1), chunk(ABORT)), 'reset');
});

/** Address and port of an IPv4 packet. */
function sideOf(view: DataView, packet: Packet, address: number, port: number): string {
  return `${view.getUint32(packet.l3 + address)}:${view.getUint16(packet.l4 + port)}`;
}

test('recorded associations pass whole', async (t) => {
  if (corpusDirectory() === null) {
    t.pass(corpusNote() as string);
    return;
  }
  const arena = new Arena(new ArrayBuffer(2 * SLOT_STRIDE));
  const packet = arena.packets[1];
  const flows = new Map<string, Association>();
  const stages = new Map<string, number>();
  for (const { name, frames } of await loadCaptures()) {
    for (const frame of frames) {
      packet.start = arena.receiveOffset(1) + VNET_HEADER_LENGTH;
      packet.length = Math.min(frame.length, 65_000);
      arena.bytes.set(frame.subarray(0, packet.length), packet.start);
      clearVnetHeader(arena, packet);
      if (parse(arena, packet) !== DROP_NONE || packet.etherType !== 0x0800) continue;
      if (packet.protocol !== 132 || packet.l4 === -1) continue;
      const near = sideOf(arena.view, packet, 12, 0);
      const far = sideOf(arena.view, packet, 16, 2);
      const key = `${name} ${near} ${far}`;
      const known = flows.get(key) ?? flows.get(`${name} ${far} ${near}`);
      const direction = flows.has(key) ? A : B;
      if (known !== undefined) {
        const result = known.follow(direction, arena.view, packet);
        stages.set(result, (stages.get(result) ?? 0) + 1);
      } else if (isSctpInit(arena.view, packet)) {
        const association = new Association();
        association.start(arena.view, packet);
        flows.set(key, association);
      }
    }
  }
  t.log(Object.fromEntries(stages));
  t.true(flows.size > 0);
  t.true((stages.get('established') ?? 0) > 10);
  t.is(stages.get('no_flow') ?? 0, 0);
});
