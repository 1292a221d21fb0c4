/**
 * Filters of an AF_PACKET socket: classic BPF programs (Documentation/networking/filter.rst, linux/filter.h). What they refuse is
 * never copied, queued or counted, so that a promiscuous socket costs the host nothing for what is not ours.
 *
 * A tag that the device has taken out of the frame stands beside it; frames of VLANs are nobody's here, those with VID 0 carry but
 * a priority.
 */

/** struct sock_filter: code, jump if true, jump if false, constant. Jumps count the instructions to leap over. */
export type FilterInstruction = readonly [code: number, jt: number, jf: number, k: number];
export type FilterProgram = readonly FilterInstruction[];

/** Address words as int32 or uint32, host bits zero; one word for IPv4, four for IPv6. */
export interface FilterPrefix {
  readonly family: 4 | 6;
  readonly words: readonly number[];
  readonly length: number;
}

/** Ports of the host's addresses that are Tapline's. Of ICMP and ICMPv6 the ports mean nothing: echo replies; of IGMP: all messages. */
export interface FilterPorts {
  readonly family: 4 | 6;
  /** Number of the IP protocol. */
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

// Codes of linux/bpf_common.h, as combined below.
const LD_WORD = 0x20;
const LD_HALF = 0x28;
const LD_BYTE = 0x30;
/** LD | B | IND: at X plus the constant. */
const LD_BYTE_X = 0x50;
/** LD | H | IND. */
const LD_HALF_X = 0x48;
/** LDX | B | MSH: X = 4 * (byte & 15), the length of an IPv4 header. */
const LDX_HEADER = 0xb1;
const AND = 0x54;
const JUMP = 0x05;
const JEQ = 0x15;
const JGT = 0x25;
const JGE = 0x35;
const JSET = 0x45;
const RETURN = 0x06;

/** SKF_AD_OFF + SKF_AD_VLAN_TAG: the tag beside the frame, 0 where there is none. */
const VLAN_TAG = (-0x1000 + 44) >>> 0;
const VID_MASK = 0x0fff;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;

/** BPF_MAXINSNS. */
const MAX_INSTRUCTIONS = 4096;

const ACCEPT: FilterInstruction = [RETURN, 0, 0, 0xffffffff];
const REFUSE: FilterInstruction = [RETURN, 0, 0, 0];

const UNTAGGED: FilterProgram = [[LD_WORD, 0, 0, VLAN_TAG], [AND, 0, 0, VID_MASK], [JEQ, 1, 0, 0], REFUSE];

/** Frames to a MAC (16 and 32 bits) and to groups. */
export function stationFilter(high: number, low: number): FilterProgram {
  return [
    ...UNTAGGED,
    [LD_BYTE, 0, 0, 0],
    [JSET, 4, 0, 1],
    [LD_WORD, 0, 0, 2],
    [JEQ, 0, 3, low >>> 0],
    [LD_HALF, 0, 0, 0],
    [JEQ, 0, 1, high & 0xffff],
    ACCEPT,
    REFUSE,
  ];
}

/**
 * What concerns Tapline where it shares the host's MAC and addresses: packets to the prefixes, and to the ports at whichever address;
 * address resolution; and ICMP errors, which may answer what Tapline sent.
 */
export function sharedFilter(prefixes: readonly FilterPrefix[], ports: readonly FilterPorts[] = []): FilterProgram {
  const ports4 = ports.filter(({ family }) => family === 4);
  const ports6 = ports.filter(({ family }) => family === 6);
  const program = byProtocol(
    [
      ...icmpErrors4(),
      ...matchPorts4(ports4),
      ...prefixes.filter(({ family }) => family === 4).flatMap(matchPrefix4),
      REFUSE,
    ],
    [
      ...icmp6(),
      ...matchPorts6(ports6),
      ...prefixes.filter(({ family }) => family === 6).flatMap(matchPrefix6),
      REFUSE,
    ],
  );
  // More than a program can hold: the router itself drops what is not ours.
  return program.length <= MAX_INSTRUCTIONS ? program : byProtocol([ACCEPT], [ACCEPT]);
}

const ICMP = 1;
const IGMP = 2;
const ICMPV6 = 58;
const ICMP_ECHO_REPLY = 0;
const ICMPV6_ECHO_REPLY = 129;

/** Each protocol with its ranges. */
function byNumber(ports: readonly FilterPorts[]): [number, readonly FilterPorts[]][] {
  const numbers = [...new Set(ports.map(({ protocol }) => protocol))];
  return numbers.map((number) => [number, ports.filter(({ protocol }) => protocol === number)]);
}

/** Runs the instructions only where the accumulator is the number, and leaps over them else, however many. */
function whereEqual(number: number, program: FilterProgram): FilterProgram {
  return [[JEQ, 1, 0, number], [JUMP, 0, 0, program.length], ...program];
}

/** Accepts what is in one of the ranges. */
function inRanges(ranges: readonly FilterPorts[]): FilterProgram {
  return ranges.flatMap(({ first, last }): FilterProgram => [[JGE, 0, 2, first], [JGT, 1, 0, last], ACCEPT]);
}

/** Fragments but the first have no ports: all are accepted, and the router knows which are ours. */
function matchPorts4(ports: readonly FilterPorts[]): FilterProgram {
  if (ports.length === 0) return [];
  return [
    [LD_HALF, 0, 0, 20],
    [JSET, 0, 1, 0x1fff],
    ACCEPT,
    [LDX_HEADER, 0, 0, 14],
    ...byNumber(ports).flatMap(([number, ranges]): FilterProgram => {
      return [[LD_BYTE, 0, 0, 23], ...whereEqual(number, matchProtocol4(number, ranges))];
    }),
  ];
}

function matchProtocol4(number: number, ranges: readonly FilterPorts[]): FilterProgram {
  if (number === IGMP) return [ACCEPT];
  if (number === ICMP) return [[LD_BYTE_X, 0, 0, 14], [JEQ, 0, 1, ICMP_ECHO_REPLY], ACCEPT];
  return [[LD_HALF_X, 0, 0, 16], ...inRanges(ranges)];
}

/** With extension headers (hop-by-hop, routing, fragment, destination options) the ports are not where they are looked for: accepted. */
function matchPorts6(ports: readonly FilterPorts[]): FilterProgram {
  if (ports.length === 0) return [];
  return [
    [LD_BYTE, 0, 0, 20],
    [JEQ, 3, 0, 0],
    [JEQ, 2, 0, 43],
    [JEQ, 1, 0, 44],
    [JEQ, 0, 1, 60],
    ACCEPT,
    ...byNumber(ports).flatMap(([number, ranges]): FilterProgram => {
      const match: FilterProgram =
        number === ICMPV6
          ? [[LD_BYTE, 0, 0, 54], [JEQ, 0, 1, ICMPV6_ECHO_REPLY], ACCEPT]
          : [[LD_HALF, 0, 0, 56], ...inRanges(ranges)];
      return [[LD_BYTE, 0, 0, 20], ...whereEqual(number, match)];
    }),
  ];
}

function byProtocol(ipv4: FilterProgram, ipv6: FilterProgram): FilterProgram {
  return [
    ...UNTAGGED,
    [LD_HALF, 0, 0, 12],
    [JEQ, 0, 1, ETHERTYPE_ARP],
    ACCEPT,
    // A conditional jump reaches 255 instructions far, an unconditional one everywhere.
    [JEQ, 0, 1, ETHERTYPE_IPV4],
    [JUMP, 0, 0, 3],
    [JEQ, 0, 1, ETHERTYPE_IPV6],
    [JUMP, 0, 0, 1 + ipv4.length],
    REFUSE,
    ...ipv4,
    ...ipv6,
  ];
}

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792), not in later fragments. */
function icmpErrors4(): FilterProgram {
  return [
    [LD_BYTE, 0, 0, 23],
    [JEQ, 0, 9, ICMP],
    [LD_HALF, 0, 0, 20],
    [JSET, 7, 0, 0x1fff],
    [LDX_HEADER, 0, 0, 14],
    [LD_BYTE_X, 0, 0, 14],
    [JEQ, 3, 0, 3],
    [JEQ, 2, 0, 11],
    [JEQ, 1, 0, 12],
    [JEQ, 0, 1, 4],
    ACCEPT,
  ];
}

/** Errors (types 1 to 4, RFC 4443) and neighbor discovery (133 to 137, RFC 4861). */
function icmp6(): FilterProgram {
  return [
    [LD_BYTE, 0, 0, 20],
    [JEQ, 0, 5, ICMPV6],
    [LD_BYTE, 0, 0, 54],
    [JGT, 0, 2, 4],
    [JGE, 0, 2, 133],
    [JGT, 1, 0, 137],
    ACCEPT,
  ];
}

/** The first `bits` of a word, as uint32. */
function mask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : (-1 << (32 - bits)) >>> 0;
}

function matchPrefix4({ words, length }: FilterPrefix): FilterProgram {
  return [[LD_WORD, 0, 0, 30], [AND, 0, 0, mask(length)], [JEQ, 0, 1, (words[0] as number) >>> 0], ACCEPT];
}

function matchPrefix6({ words, length }: FilterPrefix): FilterProgram {
  const count = Math.ceil(length / 32);
  const program: FilterInstruction[] = [];
  for (let i = 0; i < count; i++) {
    // Behind this comparison: three instructions for each further word, and the acceptance.
    program.push([LD_WORD, 0, 0, 38 + 4 * i], [AND, 0, 0, mask(length - 32 * i)]);
    program.push([JEQ, 0, 3 * (count - 1 - i) + 1, (words[i] as number) >>> 0]);
  }
  return [...program, ACCEPT];
}

/** As the kernel reads it: 8 bytes an instruction, little-endian. */
export function encodeFilter(program: FilterProgram): Uint8Array {
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  program.forEach(([code, jt, jf, k], index) => {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jt);
    view.setUint8(index * 8 + 3, jf);
    view.setUint32(index * 8 + 4, k >>> 0, true);
  });
  return bytes;
}
