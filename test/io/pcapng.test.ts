import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type CapturedPacket, PcapngWriter } from '../../io/pcapng.js';

// An independent reader in the sense of draft-ietf-opsawg-pcapng: it knows blocks and options, not our writer.

interface Block {
  readonly type: number;
  readonly body: DataView;
  /** Option values by code, in the order of the file. */
  readonly options: (readonly [code: number, value: Buffer])[];
}

/** Length of the fixed part of a body, before the options. */
function fixedLength(type: number, body: DataView): number {
  if (type === 0x0a0d0d0a) return 16;
  if (type === 1) return 8;
  if (type === 6) return 20 + Math.ceil(body.getUint32(12, true) / 4) * 4;
  throw new Error(`block type ${type}`);
}

function walkOptions(body: DataView, start: number): Block['options'] {
  const options: Block['options'] = [];
  let offset = start;
  for (;;) {
    const code = body.getUint16(offset, true);
    const length = body.getUint16(offset + 2, true);
    if (code === 0) {
      if (length !== 0 || offset + 4 !== body.byteLength) throw new Error('bytes behind opt_endofopt');
      return options;
    }
    const value = Buffer.from(body.buffer, body.byteOffset + offset + 4, length);
    const padding = new Uint8Array(body.buffer, body.byteOffset + offset + 4 + length, -length & 3);
    if (padding.some((byte) => byte !== 0)) throw new Error('option not padded with zeros');
    options.push([code, value]);
    offset += 4 + length + padding.length;
  }
}

function walk(file: Uint8Array): Block[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const blocks: Block[] = [];
  for (let offset = 0; offset < file.length; ) {
    const length = view.getUint32(offset + 4, true);
    if (length % 4 !== 0 || length < 12) throw new Error(`block length ${length}`);
    if (view.getUint32(offset + length - 4, true) !== length) throw new Error('total lengths differ');
    const body = new DataView(file.buffer, file.byteOffset + offset + 8, length - 12);
    const type = view.getUint32(offset, true);
    blocks.push({ type, body, options: walkOptions(body, fixedLength(type, body)) });
    offset += length;
  }
  return blocks;
}

/** What the packet block says, in the writer's terms. */
function readPacket({ body, options }: Block): CapturedPacket {
  const flags = options.find(([code]) => code === 2)?.[1].readUInt32LE() ?? 0;
  const comment = options.find(([code]) => code === 1)?.[1].toString();
  return {
    interfaceId: body.getUint32(0, true),
    time: (BigInt(body.getUint32(4, true)) << 32n) | BigInt(body.getUint32(8, true)),
    direction: flags === 1 ? 'in' : 'out',
    originalLength: body.getUint32(16, true),
    data: new Uint8Array(body.buffer.slice(body.byteOffset + 20, body.byteOffset + 20 + body.getUint32(12, true))),
    ...(comment === undefined ? {} : { comment }),
  };
}

/** Frames that a dissector finds no fault with: UDP over IPv4, with a checksum of 0, `payload` bytes long. */
function udpFrame(payload: number): Uint8Array {
  const frame = new Uint8Array(14 + 20 + 8 + payload);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45]);
  view.setUint16(16, 28 + payload);
  frame.set([64, 17], 22);
  frame.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
  view.setUint16(34, 1000 + payload);
  view.setUint16(36, 9);
  view.setUint16(38, 8 + payload);
  return frame;
}

const TIME = 1_700_000_000_123_456_789n;

/** Two interfaces, one of which cuts frames at 60 bytes; ten packets of every padding, in turn on both. */
function sample(): Uint8Array {
  const writer = new PcapngWriter();
  const blocks = [writer.header()];
  const ids = [writer.interface('uplink', 0), writer.interface('grün', 60)].map(({ id, bytes }) => {
    blocks.push(bytes);
    return id;
  });
  for (let i = 0; i < 10; i++) {
    const frame = udpFrame(i * 7);
    blocks.push(
      writer.packet({
        interfaceId: ids[i % 2]!,
        time: TIME + BigInt(i) * 1_000_000_001n,
        direction: i % 3 === 0 ? 'in' : 'out',
        originalLength: frame.length,
        data: i % 2 === 0 ? frame : frame.subarray(0, 60),
        ...(i === 4 ? { comment: 'the fourth — ✓' } : {}),
      }),
    );
  }
  return Buffer.concat(blocks);
}

/** Writes a capture into a directory of its own, removed when the test ends. Returns the path. */
function fileOf(t: ExecutionContext, bytes: Uint8Array): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-pcapng-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'capture.pcapng');
  writeFileSync(path, bytes);
  return path;
}

test('tshark reads names, nanoseconds, directions, lengths and comments', (t) => {
  const fields = [
    'frame.interface_id',
    'frame.interface_name',
    'frame.time_epoch',
    'frame.packet_flags_direction',
    'frame.len',
    'frame.cap_len',
    'frame.comment',
    'udp.srcport',
  ];
  const columns = fields.flatMap((field) => ['-e', field]);
  const lines = execFileSync('tshark', ['-r', fileOf(t, sample()), '-T', 'fields', ...columns], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  });
  const rows = lines
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  t.is(rows.length, 10);
  for (const [i, row] of rows.entries()) {
    const length = 42 + i * 7;
    t.is(row[0], String(i % 2));
    t.is(row[1], i % 2 === 0 ? 'uplink' : 'grün');
    t.is(row[2], `${1_700_000_000 + i}.${123_456_789 + i}`);
    t.is(Number(row[3]), i % 3 === 0 ? 1 : 2);
    t.is(Number(row[4]), length);
    t.is(Number(row[5]), i % 2 === 0 ? length : Math.min(length, 60));
    t.is(row[6], i === 4 ? 'the fourth — ✓' : '');
    t.is(Number(row[7]), 1000 + i * 7);
  }
});

test('capinfos calls it pcapng by tapline with two Ethernet interfaces', (t) => {
  const text = execFileSync('capinfos', [fileOf(t, sample())], { encoding: 'utf8' });
  t.regex(text, /File type:\s+Wireshark\/\.\.\. - pcapng/);
  t.regex(text, /Capture application:\s+tapline/);
  t.regex(text, /Number of interfaces in file:\s+2/);
  t.regex(text, /Number of packets:\s+10/);
  t.regex(text, /Capture length = 60/);
  t.regex(text, /Time precision = nanoseconds/);
});

interface PcapParser {
  on(event: 'packet', listener: (packet: { header: PcapHeader; data: Buffer }) => void): void;
  on(event: 'end', listener: () => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

interface PcapHeader {
  readonly timestampSeconds: number;
  readonly timestampMicroseconds: number;
  readonly originalLength: number;
}

const { parse: parsePcap } = createRequire(import.meta.url)('pcap-parser') as { parse(path: string): PcapParser };

test('converted to pcap by editcap, pcap-parser reads the same frames', async (t) => {
  const path = fileOf(t, sample());
  const converted = join(dirname(path), 'capture.pcap');
  execFileSync('editcap', ['-F', 'pcap', path, converted]);
  const packets: { header: PcapHeader; data: Buffer }[] = [];
  await new Promise<void>((resolve, reject) => {
    const parser = parsePcap(converted);
    parser.on('packet', (packet) => packets.push(packet));
    parser.on('error', reject);
    parser.on('end', resolve);
  });
  t.is(packets.length, 10);
  for (const [i, { header, data }] of packets.entries()) {
    const frame = udpFrame(i * 7);
    t.is(header.timestampSeconds, 1_700_000_000 + i);
    t.is(header.timestampMicroseconds, 123_456);
    t.is(header.originalLength, frame.length);
    t.deepEqual(data, Buffer.from(i % 2 === 0 ? frame : frame.subarray(0, 60)));
  }
});

test('random packets come back as they went in', (t) => {
  const packet = fc.record({
    interfaceId: fc.nat({ max: 2 }),
    time: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    direction: fc.constantFrom('in' as const, 'out' as const),
    cut: fc.nat({ max: 0xffff_0000 }),
    data: fc.uint8Array({ maxLength: 300 }),
    comment: fc.option(fc.string({ unit: 'grapheme', maxLength: 40 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 20 }), (drawn) => {
      const packets: CapturedPacket[] = drawn.map(({ cut, comment, ...rest }) => ({
        ...rest,
        originalLength: rest.data.length + cut,
        ...(comment === undefined ? {} : { comment }),
      }));
      const writer = new PcapngWriter();
      const head = [writer.header(), ...['a', 'bc', 'def'].map((name) => writer.interface(name, 0).bytes)];
      const blocks = walk(Buffer.concat([...head, ...packets.map((each) => writer.packet(each))]));
      t.deepEqual(
        blocks.map(({ type }) => type),
        [0x0a0d0d0a, 1, 1, 1, ...packets.map(() => 6)],
      );
      t.deepEqual(blocks.slice(4).map(readPacket), packets);
    }),
  );
});

test('the section header says little-endian, version 1.0, length unknown, written by tapline', (t) => {
  const [block] = walk(new PcapngWriter().header());
  t.is(block?.body.getUint32(0, true), 0x1a2b3c4d);
  t.is(block?.body.getUint16(4, true), 1);
  t.is(block?.body.getUint16(6, true), 0);
  t.is(block?.body.getBigInt64(8, true), -1n);
  t.deepEqual(block?.options, [[4, Buffer.from('tapline')]]);
});

test('an interface block names its interface, its snap length and nanoseconds', (t) => {
  const writer = new PcapngWriter();
  t.is(writer.interface('a', 0).id, 0);
  const second = writer.interface('tap-b', 96);
  t.is(second.id, 1);
  const [block] = walk(second.bytes);
  t.is(block?.body.getUint16(0, true), 1);
  t.is(block?.body.getUint32(4, true), 96);
  t.deepEqual(block?.options, [
    [2, Buffer.from('tap-b')],
    [9, Buffer.of(9)],
  ]);
});

test('a new section starts its interfaces at 0 again', (t) => {
  const writer = new PcapngWriter();
  writer.interface('a', 0);
  writer.header();
  t.throws(() =>
    writer.packet({ interfaceId: 0, time: 0n, direction: 'in', originalLength: 0, data: new Uint8Array() }),
  );
  t.is(writer.interface('b', 0).id, 0);
});

test('packets that would make the file unreadable are refused by name', (t) => {
  const writer = new PcapngWriter();
  writer.interface('a', 10);
  const good: CapturedPacket = {
    interfaceId: 0,
    time: 0n,
    direction: 'in',
    originalLength: 10,
    data: new Uint8Array(10),
  };
  t.notThrows(() => writer.packet(good));
  const bad: [Partial<CapturedPacket>, RegExp][] = [
    [{ interfaceId: 1 }, /no interface 1/],
    [{ interfaceId: -1 }, /no interface -1/],
    [{ data: new Uint8Array(11), originalLength: 11 }, /snap length is 10/],
    [{ originalLength: 9 }, /10 bytes kept of a frame of 9/],
    [{ originalLength: 2 ** 32 }, /frame of 4294967296/],
    [{ time: -1n }, /time -1 does not fit/],
    [{ time: 1n << 64n }, /does not fit 64 bits/],
    [{ comment: 'x'.repeat(65536) }, /text of 65536 bytes/],
  ];
  for (const [change, message] of bad) {
    t.throws(() => writer.packet({ ...good, ...change }), { instanceOf: RangeError, message });
  }
  t.throws(() => writer.interface('b', -1), { instanceOf: RangeError, message: /snap length of b is -1/ });
  t.throws(() => writer.interface('b', 1.5), { instanceOf: RangeError });
});
