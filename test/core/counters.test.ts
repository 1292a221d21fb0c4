/** Counters: each method moves what it says and nothing beside, and the sums stay whole. */

import test from 'ava';
import {
  COUNTER_BLOCK,
  COUNTER_COPIES,
  COUNTER_RX_BYTES,
  COUNTER_RX_DROPS,
  COUNTER_RX_PACKETS,
  COUNTER_TX_BYTES,
  COUNTER_TX_DROPS,
  COUNTER_TX_PACKETS,
  Counters,
  RETIRED_PORT,
} from '../../core/counters.js';
import { DROP_HAIRPIN, DROP_INTERNAL_ERROR, DROP_REASON_SLOTS, DROP_TX_TOO_BIG } from '../../core/drop.js';

const PORTS = 4;

function make(): Counters {
  return new Counters(new Float64Array(PORTS * COUNTER_BLOCK));
}

/** What is not 0: "port.index" → value. */
function moved(counters: Counters): Record<string, number> {
  const found: Record<string, number> = {};
  counters.values.forEach((value, at) => {
    if (value !== 0) found[`${Math.floor(at / COUNTER_BLOCK)}.${at % COUNTER_BLOCK}`] = value;
  });
  return found;
}

test('each event moves its own counters of its own port', (t) => {
  const counters = make();
  counters.received(2, 100);
  counters.received(2, 60);
  counters.transmitted(3, 100);
  counters.copied(2, 5);
  counters.dropReceived(2, DROP_HAIRPIN);
  counters.dropTransmit(1, DROP_TX_TOO_BIG);
  t.deepEqual(moved(counters), {
    [`1.${COUNTER_TX_DROPS + DROP_TX_TOO_BIG}`]: 1,
    [`2.${COUNTER_RX_PACKETS}`]: 2,
    [`2.${COUNTER_RX_BYTES}`]: 160,
    [`2.${COUNTER_COPIES}`]: 5,
    [`2.${COUNTER_RX_DROPS + DROP_HAIRPIN}`]: 1,
    [`3.${COUNTER_TX_PACKETS}`]: 1,
    [`3.${COUNTER_TX_BYTES}`]: 100,
  });
});

test('a frame that the kernel refused moves from transmitted to a drop', (t) => {
  const counters = make();
  counters.transmitted(1, 1514);
  counters.transmitted(1, 60);
  counters.transmitFailed(1, 1514, DROP_TX_TOO_BIG);
  t.deepEqual(moved(counters), {
    [`1.${COUNTER_TX_PACKETS}`]: 1,
    [`1.${COUNTER_TX_BYTES}`]: 60,
    [`1.${COUNTER_TX_DROPS + DROP_TX_TOO_BIG}`]: 1,
  });
});

test('the counters of a block do not overlap, and its last one is inside', (t) => {
  t.true(COUNTER_COPIES < COUNTER_RX_DROPS);
  t.is(COUNTER_RX_DROPS + DROP_REASON_SLOTS, COUNTER_TX_DROPS);
  t.is(COUNTER_TX_DROPS + DROP_REASON_SLOTS, COUNTER_BLOCK);
  const counters = make();
  counters.dropTransmit(PORTS - 1, DROP_REASON_SLOTS - 1);
  t.deepEqual(Object.keys(moved(counters)), [`${PORTS - 1}.${COUNTER_BLOCK - 1}`]);
});

test('a retired port starts from 0 again, and its counts add to those retired before', (t) => {
  const counters = make();
  for (let round = 1; round <= 2; round++) {
    counters.received(3, 70);
    counters.dropReceived(3, DROP_INTERNAL_ERROR);
    counters.received(2, 1);
    counters.retire(3);
    t.is(counters.values[3 * COUNTER_BLOCK + COUNTER_RX_PACKETS], 0);
    t.is(counters.values[RETIRED_PORT * COUNTER_BLOCK + COUNTER_RX_PACKETS], round);
    t.is(counters.values[RETIRED_PORT * COUNTER_BLOCK + COUNTER_RX_BYTES], round * 70);
    t.is(counters.values[RETIRED_PORT * COUNTER_BLOCK + COUNTER_RX_DROPS + DROP_INTERNAL_ERROR], round);
    t.is(counters.values[2 * COUNTER_BLOCK + COUNTER_RX_PACKETS], round, 'no other port is touched');
  }
});
