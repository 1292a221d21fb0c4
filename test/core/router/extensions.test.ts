import test from 'ava';
import fc from 'fast-check';
import { DROP_IP_OPTIONS, DROP_NONE, DROP_NOT_LISTENING } from '../../../core/drop.js';
import { PACKET_L3_MALFORMED } from '../../../core/packet/packet.js';
import { examineExtensions, extensionsProblem } from '../../../core/router/extensions.js';
import { authentication, ethernet, extension, fragmentHeader, icmpv6, ipv6, tcp, udp } from '../wire/build.js';
import { createArena, frameOf, load } from './slots.js';

interface Result {
  readonly reason: number;
  readonly code: number;
  readonly pointer: number;
}

const ECHO = icmpv6(128, new Uint8Array(8));

function run(nextHeader: number, headers: Uint8Array[], multicast = false): Result {
  const frame = ethernet(0x86dd, ipv6({ nextHeader }, ...headers));
  if (multicast) frame.set([0xff, 2], 38);
  const arena = createArena(1);
  const packet = load(arena, frame);
  if ((packet.flags & PACKET_L3_MALFORMED) !== 0) throw new Error('the test wants a sound chain');
  const reason = examineExtensions(arena.view, packet);
  if (frameOf(arena, packet).some((byte, i) => byte !== frame[i])) throw new Error('the packet was changed');
  const { code, pointer } = extensionsProblem;
  return { reason, code, pointer: code < 0 ? -1 : pointer };
}

const ACCEPTED: Result = { reason: DROP_NONE, code: -1, pointer: -1 };
const SILENT: Result = { reason: DROP_IP_OPTIONS, code: -1, pointer: -1 };

/** An options header with these bytes behind next header and length, filled up with Pad1. */
function options(nextHeader: number, bytes: number[]): Uint8Array {
  const header = extension(nextHeader, Math.ceil((bytes.length + 2) / 8) * 8);
  header.set(bytes, 2);
  return header;
}

test('ICMPv6, UDP and TCP without extension headers are taken', (t) => {
  t.deepEqual(run(58, [ECHO]), ACCEPTED);
  t.deepEqual(run(17, [udp({ srcPort: 1, dstPort: 2 })]), ACCEPTED);
  t.deepEqual(run(6, [tcp({ srcPort: 1, dstPort: 2 })]), ACCEPTED);
});

test('RFC 8200, 4.1: every order of known headers is taken', (t) => {
  t.deepEqual(run(0, [extension(60), extension(43), extension(60), extension(58), ECHO]), ACCEPTED);
  t.deepEqual(run(60, [extension(60), extension(43), extension(58), ECHO]), ACCEPTED);
});

test('RFC 8200, 4.2: the upper two bits of an unknown option: 00 skip, 01 discard, 10 answer, 11 answer unless multicast', (t) => {
  for (const kind of [0, 60]) {
    t.deepEqual(run(kind, [options(58, [0x1e, 2, 1, 1]), ECHO]), ACCEPTED);
    t.deepEqual(run(kind, [options(58, [0x5e, 2, 1, 1]), ECHO]), SILENT);
    const answered = { reason: DROP_IP_OPTIONS, code: 2, pointer: 42 };
    for (const multicast of [false, true]) {
      t.deepEqual(run(kind, [options(58, [0x9e, 2, 1, 1]), ECHO], multicast), answered);
      t.deepEqual(run(kind, [options(58, [0xde, 2, 1, 1]), ECHO], multicast), multicast ? SILENT : answered);
    }
  }
});

test('RFC 8200, 4.2: the pointer is at the option, behind others and in a later header too', (t) => {
  const hopByHop = options(60, [0x05, 2, 0, 0, 1, 0]);
  t.deepEqual(run(0, [hopByHop, options(58, [0, 1, 1, 9, 0x80, 0]), ECHO]), {
    reason: DROP_IP_OPTIONS,
    code: 2,
    pointer: 40 + 8 + 2 + 4,
  });
});

test('an option that does not end inside its header is an error at its length', (t) => {
  t.deepEqual(run(0, [options(58, [0x1e, 5, 0, 0, 0, 0]), ECHO]), { reason: DROP_IP_OPTIONS, code: 0, pointer: 43 });
  t.deepEqual(run(0, [options(58, [1, 5, 0, 0, 0, 0]), ECHO]), { reason: DROP_IP_OPTIONS, code: 0, pointer: 43 });
  t.deepEqual(run(0, [options(58, [1, 3, 0, 0, 0, 0x1e]), ECHO]), { reason: DROP_IP_OPTIONS, code: 0, pointer: 47 });
});

test('RFC 8504, 5.3: more padding than an alignment can need, and more than eight options, are refused', (t) => {
  t.deepEqual(run(0, [options(58, [1, 6, 0, 0, 0, 0, 0, 0, 0x1e, 0, 1, 2, 0, 0]), ECHO]), SILENT);
  t.deepEqual(run(0, [options(58, [0x1e, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x1e, 0]), ECHO]), SILENT);
  t.deepEqual(run(0, [options(58, [0x1e, 2, 1, 1, 0, 0, 0, 1, 3, 0, 0, 0, 0x1e, 0]), ECHO]), SILENT);
  t.deepEqual(run(0, [options(58, [1, 5, 0, 0, 0, 0, 0, 0x1e, 0, 1, 3, 0, 0, 0]), ECHO]), ACCEPTED);
  const eight = new Array(8).fill([0x1e, 0]).flat();
  t.deepEqual(run(0, [options(58, [...eight, 1, 4, 0, 0, 0, 0]), ECHO]), ACCEPTED);
  t.deepEqual(run(0, [options(58, [...eight, 0x1e, 2, 0, 0, 0x1e, 0]), ECHO]), SILENT);
});

test('RFC 8200, 4.4, and RFC 5095: a routing header with segments left is answered at its type, of type 0 as of any', (t) => {
  for (const type of [0, 2, 4, 253]) {
    const routing = extension(58, 24);
    routing[2] = type;
    t.deepEqual(run(43, [routing, ECHO]), ACCEPTED, 'none left');
    routing[3] = 1;
    t.deepEqual(run(43, [routing, ECHO]), { reason: DROP_IP_OPTIONS, code: 0, pointer: 42 });
    t.deepEqual(run(60, [extension(43), routing, ECHO]), { reason: DROP_IP_OPTIONS, code: 0, pointer: 50 });
  }
});

test('RFC 8200, 4: an unknown next header is answered at the octet that names it', (t) => {
  for (const kind of [1, 50, 132, 253, 255]) {
    t.deepEqual(run(kind, [new Uint8Array(16)]), { reason: DROP_NOT_LISTENING, code: 1, pointer: 6 });
    t.deepEqual(run(60, [extension(kind), new Uint8Array(16)]), { reason: DROP_NOT_LISTENING, code: 1, pointer: 40 });
  }
  t.deepEqual(run(51, [authentication(58), ECHO]), { reason: DROP_NOT_LISTENING, code: 1, pointer: 6 });
});

test('RFC 8200, 4: hop-by-hop options that do not follow the IPv6 header count as unknown', (t) => {
  t.deepEqual(run(60, [extension(0), extension(58), ECHO]), { reason: DROP_NOT_LISTENING, code: 1, pointer: 40 });
  t.deepEqual(run(0, [extension(0), extension(58), ECHO]), { reason: DROP_NOT_LISTENING, code: 1, pointer: 40 });
});

test('RFC 8200, 4.7: behind "no next header" is nothing to take, and nothing to answer', (t) => {
  t.deepEqual(run(59, [new Uint8Array(8)]), { reason: DROP_NOT_LISTENING, code: -1, pointer: -1 });
});

test('RFC 6946: an atomic fragment is walked past; behind the header of another nothing is looked at', (t) => {
  const bad = options(58, [0x9e, 4, 0, 0, 0, 0]);
  t.deepEqual(run(44, [fragmentHeader({ nextHeader: 60, offset: 0, more: false }), bad, ECHO]), {
    reason: DROP_IP_OPTIONS,
    code: 2,
    pointer: 50,
  });
  t.deepEqual(run(44, [fragmentHeader({ nextHeader: 60, offset: 0, more: true }), bad, ECHO]), ACCEPTED);
  t.deepEqual(run(44, [fragmentHeader({ nextHeader: 253, offset: 5, more: false }), new Uint8Array(8)]), ACCEPTED);
  t.is(
    run(60, [options(44, [0x9e, 0]), fragmentHeader({ nextHeader: 58, offset: 5, more: false })]).code,
    2,
    'in front of it all is',
  );
});

test('property: any bytes in any chain: an answer names an octet of the packet, and nothing else is written', (t) => {
  const seen = new Set<string>();
  const kind = fc.constantFrom(0, 43, 60, 58, 44, 51, 59, 253);
  const header = fc.tuple(kind, fc.uint8Array({ minLength: 6, maxLength: 6 }));
  fc.assert(
    fc.property(kind, fc.array(header, { maxLength: 6 }), fc.boolean(), (first, headers, multicast) => {
      const chain: Uint8Array[] = headers.map(([next, bytes]) => Uint8Array.of(next, 0, ...bytes));
      chain.push(extension(59), new Uint8Array(32));
      const result = run(first, chain, multicast);
      seen.add(`${result.reason} ${result.code}`);
      t.true(result.code === -1 || (result.pointer >= 6 && result.pointer < 40 + (chain.length - 1) * 8));
      if (result.reason === DROP_NONE) t.is(result.code, -1);
    }),
    { numRuns: 5000 },
  );
  for (const wanted of [
    '0 -1',
    `${DROP_IP_OPTIONS} -1`,
    `${DROP_IP_OPTIONS} 0`,
    `${DROP_IP_OPTIONS} 2`,
    `${DROP_NOT_LISTENING} 1`,
  ]) {
    t.true(seen.has(wanted), `no packet came out as ${wanted}`);
  }
});
