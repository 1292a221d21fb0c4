/** The reader of capture files that the corpus tests stand on, and the mutator. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createRandom, generatedFrames, mutate, readCapture, readPcapng, writePcap } from '../../support/corpus.js';

async function readBytes(bytes: Uint8Array): Promise<number[][]> {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-capture-'));
  try {
    writeFileSync(join(directory, 'file'), bytes);
    return (await readCapture(join(directory, 'file'))).map((frame) => [...frame]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const FRAMES = generatedFrames();
const LISTS = FRAMES.map((frame) => [...frame]);

test('pcap: what was written is read, also with the magic number of nanoseconds', async (t) => {
  const file = writePcap(FRAMES);
  t.deepEqual(await readBytes(file), LISTS);
  file[0] = 0x4d;
  file[1] = 0x3c;
  t.deepEqual(await readBytes(file), LISTS);
});

test('pcap: a file that ends in the middle of a packet gives the packets before', async (t) => {
  const file = writePcap(FRAMES);
  t.deepEqual(await readBytes(file.slice(0, file.length - 1)), LISTS.slice(0, -1));
});

test('a file that is no capture is refused', async (t) => {
  await t.throwsAsync(readBytes(Uint8Array.of(1, 2, 3, 4, 5)), { message: /neither pcap nor pcapng/ });
  await t.throwsAsync(readBytes(new Uint8Array(0)), { message: /neither pcap nor pcapng/ });
});

/** One pcapng block. */
function block(little: boolean, type: number, body: number[]): number[] {
  const padded = [...body, ...new Array<number>((4 - (body.length % 4)) % 4).fill(0)];
  const length = word(little, padded.length + 12);
  return [...word(little, type), ...length, ...padded, ...length];
}

function word(little: boolean, value: number): number[] {
  const bytes = [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
  return little ? bytes.reverse() : bytes;
}

function section(little: boolean, major: number): number[] {
  const version = little ? [major, 0, 0, 0] : [0, major, 0, 0];
  return block(little, 0x0a0d0d0a, [...word(little, 0x1a2b3c4d), ...version, ...new Array<number>(8).fill(0xff)]);
}

function interfaceBlock(little: boolean, snapLength: number): number[] {
  return block(little, 1, [...(little ? [1, 0] : [0, 1]), 0, 0, ...word(little, snapLength)]);
}

function enhanced(little: boolean, frame: number[]): number[] {
  const captured = word(little, frame.length);
  return block(little, 6, [...new Array<number>(12).fill(0), ...captured, ...word(little, 2000), ...frame]);
}

for (const little of [true, false]) {
  test(`pcapng: enhanced and simple packets, ${little ? 'little' : 'big'}-endian`, (t) => {
    const file = [
      ...section(little, 1),
      ...interfaceBlock(little, 3),
      ...enhanced(little, [1, 2, 3, 4, 5]),
      ...block(little, 0x0bad, [9, 9]),
      ...block(little, 3, [...word(little, 5), 6, 7, 8]),
    ];
    t.deepEqual(
      readPcapng(Uint8Array.from(file)).map((frame) => [...frame]),
      [
        [1, 2, 3, 4, 5],
        [6, 7, 8],
      ],
    );
  });
}

test('pcapng: a section of another byte order, then one of another version, where reading stops', (t) => {
  const file = [
    ...section(true, 1),
    ...enhanced(true, [1]),
    ...section(false, 1),
    ...enhanced(false, [2]),
    ...section(true, 2),
    ...enhanced(true, [3]),
  ];
  t.deepEqual(
    readPcapng(Uint8Array.from(file)).map((frame) => [...frame]),
    [[1], [2]],
  );
  t.deepEqual(readPcapng(Uint8Array.from(file).slice(0, 50)), [], 'a block that the file cuts is not read');
});

test('mutations: fixed by the seed, different from the original, which stays', (t) => {
  const original = FRAMES[0].slice();
  const run = (seed: number) => {
    const random = createRandom(seed);
    return Array.from({ length: 500 }, () => Buffer.from(mutate(FRAMES[0], random)).toString('hex'));
  };
  t.deepEqual(run(7), run(7));
  t.notDeepEqual(run(7), run(8));
  t.deepEqual(FRAMES[0], original);
  const buffer = Buffer.from(original);
  for (let seed = 0; seed < 100; seed++) mutate(buffer, createRandom(seed));
  t.deepEqual([...buffer], [...original]);
  t.true(new Set(run(7)).size > 400, 'hardly any two alike');
});
