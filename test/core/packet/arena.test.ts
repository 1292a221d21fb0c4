import test from 'ava';
import {
  Arena,
  MAX_FRAME_LENGTH,
  RECEIVE_LENGTH,
  RECEIVE_OFFSET,
  SLOT_STRIDE,
  VNET_HEADER_LENGTH,
} from '../../../core/packet/arena.js';

test('a region is cut into as many slots as fit', (t) => {
  t.is(new Arena(new ArrayBuffer(SLOT_STRIDE * 3 + 5)).slotCount, 3);
  t.throws(() => new Arena(new ArrayBuffer(SLOT_STRIDE - 1)), { instanceOf: RangeError });
});

test('a slot holds the headroom, what the kernel may fill, and tailroom', (t) => {
  t.true(RECEIVE_OFFSET >= 128);
  t.true(RECEIVE_OFFSET + RECEIVE_LENGTH <= SLOT_STRIDE);
  t.true(RECEIVE_LENGTH > VNET_HEADER_LENGTH + MAX_FRAME_LENGTH);
  t.is((RECEIVE_OFFSET + VNET_HEADER_LENGTH + 14) % 8, 0, 'the IP header of an untagged frame is aligned');
  t.is((SLOT_STRIDE / 64) % 2, 1, 'slots spread over the cache sets');
});

test('the free list is LIFO and ends at -1', (t) => {
  const arena = new Arena(new ArrayBuffer(SLOT_STRIDE * 2));
  const first = arena.allocate();
  const second = arena.allocate();
  t.is(arena.allocate(), -1);
  arena.release(second);
  arena.release(first);
  t.is(arena.allocate(), first);
});

test('a slot is free when its last reference is given back, not before', (t) => {
  const arena = new Arena(new ArrayBuffer(SLOT_STRIDE));
  const slot = arena.allocate();
  arena.retain(slot, 2);
  arena.release(slot);
  arena.release(slot);
  t.is(arena.available, 0);
  t.is(arena.referenceCount(slot), 1);
  arena.release(slot);
  t.is(arena.available, 1);
  t.throws(() => arena.release(slot), { message: /released twice/ });
  t.is(arena.available, 1);
});
