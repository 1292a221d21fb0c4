/** Memory below 2 GiB: where it lies, that it is zeroed, shared by address, and given back. */

import { readFileSync } from 'node:fs';
import test from 'ava';
import { mapRegion, unmapRegion, viewRegion } from '../../io/memory.js';

/** Whether /proc/self/maps has the address. */
function isMapped(address: number): boolean {
  return readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .some((line) => {
      const [from, to] = line
        .split(' ', 1)[0]
        .split('-')
        .map((hex) => Number.parseInt(hex, 16));
      return address >= from && address < to;
    });
}

test('a region is page-aligned, zeroed, and ends below 2^31', (t) => {
  const region = mapRegion(100_000);
  t.is(region.address % 4096, 0);
  t.is(region.length, 102_400, 'rounded up to pages');
  t.is(region.buffer.byteLength, region.length);
  t.true(region.address > 0 && region.address + region.length < 2 ** 31);
  t.true(new Uint8Array(region.buffer).every((byte) => byte === 0));
  unmapRegion(region);
});

test('regions do not overlap', (t) => {
  const regions = Array.from({ length: 20 }, (_, i) => mapRegion((i + 1) * 300_000, i % 2 === 1));
  const sorted = [...regions].sort((a, b) => a.address - b.address);
  for (let i = 1; i < sorted.length; i++)
    t.true(sorted[i - 1].address + sorted[i - 1].length <= sorted[i].address, String(i));
  for (const region of regions) new Uint8Array(region.buffer).fill(1);
  for (const region of regions) unmapRegion(region);
});

test('a second view by address sees the same bytes', (t) => {
  const region = mapRegion(4096);
  const second = viewRegion(region.address, region.length);
  new Int32Array(region.buffer)[3] = 0x1234_5678;
  t.is(new Int32Array(second.buffer)[3], 0x1234_5678);
  new Int32Array(second.buffer)[4] = 7;
  t.is(new Int32Array(region.buffer)[4], 7);
  unmapRegion(region);
});

test('what is unmapped is gone, and its place is used again', (t) => {
  const region = mapRegion(1 << 20);
  t.true(isMapped(region.address));
  unmapRegion(region);
  t.false(isMapped(region.address));
  const again = mapRegion(1 << 20);
  t.is(again.address, region.address);
  unmapRegion(again);
});

test('more than there is room for below 2 GiB is refused in one line', (t) => {
  t.throws(() => mapRegion(2 ** 31), {
    message: 'ENOMEM mapping 2147483648 bytes below 2 GiB: free memory or use fewer slots',
    code: 'ENOMEM',
  });
});
