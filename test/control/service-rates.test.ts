/** What is read of the counters of backends, and rates that follow from two looks. */

import test from 'ava';
import { backendCounts, ServiceRates, sumCounts, sumRates } from '../../control/service-rates.js';
import {
  BACKEND_COUNTERS,
  COUNT_ACTIVE,
  COUNT_BYTES_IN,
  COUNT_BYTES_OUT,
  COUNT_FAILURES,
  COUNT_FLOWS,
  COUNT_INACTIVE,
  COUNT_PACKETS_IN,
  COUNT_PACKETS_OUT,
} from '../../core/lb/service.js';

function count(counters: Float64Array, number: number, what: number, more: number): void {
  counters[number * BACKEND_COUNTERS + what] += more;
}

test('each counter is read from its place, of that backend alone', (t) => {
  const counters = new Float64Array(4 * BACKEND_COUNTERS);
  for (let word = 0; word < counters.length; word++) counters[word] = 1000 + word;
  const at = 1000 + 2 * BACKEND_COUNTERS;
  const counts = {
    flows: at + COUNT_FLOWS,
    active: at + COUNT_ACTIVE,
    inactive: at + COUNT_INACTIVE,
    packetsIn: at + COUNT_PACKETS_IN,
    bytesIn: at + COUNT_BYTES_IN,
    packetsOut: at + COUNT_PACKETS_OUT,
    bytesOut: at + COUNT_BYTES_OUT,
    failures: at + COUNT_FAILURES,
  };
  t.deepEqual(backendCounts(counters, 2), counts);
  const sum = sumCounts([backendCounts(counters, 1), backendCounts(counters, 2)]);
  t.is(sum.flows, 2 * counts.flows - BACKEND_COUNTERS);
  t.is(sum.failures, 2 * counts.failures - BACKEND_COUNTERS);
  t.is(sumCounts([]).bytesOut, 0);
});

test('rates are what came between the last two looks, in the time that was between them', (t) => {
  const counters = new Float64Array(4 * BACKEND_COUNTERS);
  let backends = [1];
  const rates = new ServiceRates(counters, () => backends);
  count(counters, 1, COUNT_FLOWS, 1_000_000);
  rates.look(5000);
  t.is(rates.of(1), null, 'one look tells nothing');
  count(counters, 1, COUNT_FLOWS, 30);
  count(counters, 1, COUNT_PACKETS_IN, 200);
  count(counters, 1, COUNT_PACKETS_OUT, 100);
  count(counters, 1, COUNT_BYTES_IN, 1000);
  count(counters, 1, COUNT_BYTES_OUT, 2000);
  backends = [1, 2];
  rates.look(7000);
  t.deepEqual(rates.of(1), { connections: 15, packets: 150, bits: 12_000 });
  t.is(rates.of(2), null);
  rates.look(8000);
  t.deepEqual(rates.of(1), { connections: 0, packets: 0, bits: 0 });
  t.deepEqual(rates.of(2), { connections: 0, packets: 0, bits: 0 });
});

test('looks that follow each other at once count as one', (t) => {
  const counters = new Float64Array(2 * BACKEND_COUNTERS);
  const backends = [1];
  const rates = new ServiceRates(counters, () => backends);
  rates.look(0);
  count(counters, 1, COUNT_FLOWS, 10);
  rates.look(1000);
  count(counters, 1, COUNT_FLOWS, 10);
  rates.look(1001);
  t.is(rates.of(1)?.connections, 10);
});

test('a backend that is gone is forgotten, and its number begins anew', (t) => {
  const counters = new Float64Array(2 * BACKEND_COUNTERS);
  let backends = [1];
  const rates = new ServiceRates(counters, () => backends);
  count(counters, 1, COUNT_FLOWS, 100);
  rates.look(0);
  rates.look(1000);
  backends = [];
  rates.look(2000);
  t.is(rates.of(1), null);
  backends = [1];
  rates.look(3000);
  t.is(rates.of(1), null);
  counters.fill(0);
  rates.look(4000);
  t.is(rates.of(1), null, 'less than before is no rate');
  count(counters, 1, COUNT_FLOWS, 7);
  rates.look(5000);
  t.is(rates.of(1)?.connections, 7);
});

test('rates of a service are those of its backends that are known', (t) => {
  t.is(sumRates([]), null);
  t.is(sumRates([null, null]), null);
  const one = { connections: 1, packets: 2, bits: 3 };
  t.deepEqual(sumRates([one, null, one]), { connections: 2, packets: 4, bits: 6 });
});
