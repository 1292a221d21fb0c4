/** Backends' MACs are asked for before anybody waits for them. */

import test from 'ava';
import { NEIGHBOR_INCOMPLETE } from '../../../core/router/neighbors.js';
import { B, EXTERNAL } from '../nat/lab.js';
import { TCP } from '../nat/packets.js';
import { expectWhole, word4, words6 } from '../router/lab.js';
import { type BackendSpec, ServiceLab } from './lab.js';

const LISTEN = [{ protocol: TCP, at: `${EXTERNAL}:8080` }];
/** The network of the backends' addresses, 10.2.0.0/24 and fd00:2::/64. */
const NETWORK = 2;

function backend(number: number, more: Partial<BackendSpec> = {}): BackendSpec {
  return { number, addresses: [`10.2.0.${100 + number}`, `fd00:2::${100 + number}`], port: 80, ...more };
}

/** Which of the backends' addresses of a family are being asked for: numbers. */
function sought(lab: ServiceLab, family: 4 | 6, count: number): number[] {
  const { neighbors } = lab.router;
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  return numbers.filter((number) => {
    const last = 100 + number;
    const found =
      family === 4
        ? neighbors.find4(NETWORK, word4(`10.2.0.${last}`))
        : neighbors.find6(NETWORK, ...words6(`fd00:2::${last}`));
    return found?.state === NEIGHBOR_INCOMPLETE;
  });
}

test('those that get flows, in both families, at once and after each change', (t) => {
  const lab = new ServiceLab({ slots: 256 });
  const backends = [backend(1), backend(2, { isDown: true }), backend(3, { weight: 0 }), backend(4)];
  lab.serve(1, LISTEN, { backends });
  lab.flows.tick();
  for (const family of [4, 6] as const) t.deepEqual(sought(lab, family, 4), [1, 4], `IPv${family}`);
  lab.serve(1, LISTEN, { backends: [backend(2), backend(3)] });
  lab.flows.tick();
  for (const family of [4, 6] as const) t.deepEqual(sought(lab, family, 4), [1, 2, 3, 4], `IPv${family}`);
  expectWhole(t, lab);
});

test('so many a second, in turn, over all services', (t) => {
  const lab = new ServiceLab({ slots: 256 });
  // IPv4 alone: as many may be unresolved on one account.
  const one = (number: number): BackendSpec => backend(number, { addresses: [`10.2.0.${100 + number}`] });
  const numbers = Array.from({ length: 90 }, (_, i) => i + 1);
  lab.serve(1, LISTEN, { backends: numbers.slice(0, 40).map(one) });
  lab.serve(3, [{ protocol: TCP, at: `${EXTERNAL}:8081` }], { backends: numbers.slice(40).map(one) });
  lab.flows.tick();
  t.deepEqual(sought(lab, 4, 90), numbers.slice(0, 64));
  // They answer, and the rest has its turn.
  for (const number of numbers.slice(0, 64)) lab.resolve(B, `10.2.0.${100 + number}`);
  lab.passTo(lab.dataplane.now + 1);
  t.deepEqual(sought(lab, 4, 90), numbers.slice(64));
  expectWhole(t, lab);
});

test('nobody for a service that is gone, or listens nowhere; nobody behind another router', (t) => {
  const lab = new ServiceLab({ slots: 256 });
  lab.serve(1, LISTEN, { backends: [backend(1)] });
  lab.unserve(1);
  lab.serve(2, [], { backends: [backend(2)] });
  lab.serve(3, LISTEN, { backends: [backend(3, { addresses: ['198.51.100.9'] })] });
  const before = lab.router.neighbors.unresolvedCount;
  lab.flows.tick();
  t.is(lab.router.neighbors.unresolvedCount, before);
  expectWhole(t, lab);
});

test('a burst of first packets, many more than may wait for a MAC, reaches its backend', (t) => {
  const lab = new ServiceLab({ slots: 256 });
  lab.serve(1, LISTEN, { backends: [backend(1)] });
  lab.flows.tick();
  t.deepEqual(sought(lab, 4, 1), [1]);
  lab.resolve(B, '10.2.0.101');
  for (let port = 5000; port < 5100; port++)
    t.is(lab.place(`198.51.100.1:${port}`, `${EXTERNAL}:8080`), '10.2.0.101:80');
  t.deepEqual(lab.dropped(), {});
  expectWhole(t, lab);
});
