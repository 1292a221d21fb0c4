/** Mirrors: who gets copies of what, and who never does. */

import test from 'ava';
import type { Mirror } from '../../../core/switch/mirror.js';
import type { PortOptions } from '../../../core/topology.js';
import { BROADCAST, frame, Harness, mac, tagged } from '../../support/harness.js';

const A = mac('02:00:00:00:00:0a');
const B = mac('02:00:00:00:00:0b');

function mirror(fields: Partial<Mirror> & { to: number }): Mirror {
  return { id: 1, fromPort: 0, fromNetwork: 0, incoming: true, outgoing: true, ...fields };
}

/** Ports 1 to 4 of network 1, A on port 1 and B on port 2; port 5 is the watcher, alone in network 2. */
function make(...mirrors: Mirror[]): Harness {
  const h = new Harness(4);
  h.topology.addNetwork(2, 300, 100);
  h.topology.addPort(5, 2);
  h.receive(1, frame(BROADCAST, A));
  h.receive(2, frame(BROADCAST, B));
  for (const each of mirrors) h.topology.addMirror(each);
  return h;
}

const run = (h: Harness, port: number, bytes: Uint8Array) => h.changes(() => h.dataplane.process(h.load(port, bytes)));

test('what enters by a port, what leaves by it, or both', (t) => {
  const inward = make(mirror({ fromPort: 1, to: 5, outgoing: false }));
  t.deepEqual(run(inward, 1, frame(B, A)), { 1: { rx: 1, copies: 1 }, 2: { tx: 1 }, 5: { tx: 1 } });
  t.deepEqual(run(inward, 2, frame(A, B)), { 1: { tx: 1 }, 2: { rx: 1 } });
  const outward = make(mirror({ fromPort: 1, to: 5, incoming: false }));
  t.deepEqual(run(outward, 1, frame(B, A)), { 1: { rx: 1 }, 2: { tx: 1 } });
  t.deepEqual(run(outward, 2, frame(A, B)), { 1: { tx: 1 }, 2: { rx: 1, copies: 1 }, 5: { tx: 1 } });
  const both = make(mirror({ fromPort: 1, to: 5 }));
  t.deepEqual(run(both, 1, frame(B, A)), { 1: { rx: 1, copies: 1 }, 2: { tx: 1 }, 5: { tx: 1 } });
  t.deepEqual(run(both, 2, frame(A, B)), { 1: { tx: 1 }, 2: { rx: 1, copies: 1 }, 5: { tx: 1 } });
  for (const h of [inward, outward, both]) t.true(h.isWhole);
});

test('a copy is the frame, byte for byte, and its virtio-net header', (t) => {
  const h = make(mirror({ fromPort: 1, to: 5 }));
  const sent = frame(B, A, new Array(3000).fill(7));
  const vnet = { flags: 1, gsoType: 1, headerLength: 54, gsoSize: 1448, checksumStart: 34, checksumOffset: 16 };
  const out = h.receive(1, sent, vnet);
  t.deepEqual(out.map((copy) => copy.port).sort(), [2, 5]);
  t.deepEqual(out[0].frame, sent);
  t.deepEqual(out[1].frame, sent);
  t.deepEqual(out[0].vnet, out[1].vnet);
});

test('a network: everything that enters or leaves by its ports', (t) => {
  const h = make(mirror({ fromNetwork: 1, to: 5 }));
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1, copies: 2 }, 2: { tx: 1 }, 5: { tx: 2 } }, 'in and out');
  t.deepEqual(run(h, 1, frame(BROADCAST, A)), {
    1: { rx: 1, copies: 6 },
    2: { tx: 1 },
    3: { tx: 1 },
    4: { tx: 1 },
    5: { tx: 4 },
  });
  const inward = make(mirror({ fromNetwork: 1, to: 5, outgoing: false }));
  t.deepEqual(run(inward, 1, frame(B, A)), { 1: { rx: 1, copies: 1 }, 2: { tx: 1 }, 5: { tx: 1 } }, 'once a frame');
  t.true(h.isWhole && inward.isWhole);
});

test('a target inside the network gets copies of the others’ frames, never of its own', (t) => {
  const h = make(mirror({ fromNetwork: 1, to: 4 }));
  t.deepEqual(run(h, 4, frame(BROADCAST, mac('02:00:00:00:00:0d'))), {
    4: { rx: 1, copies: 5, tx: 3 },
    1: { tx: 1 },
    2: { tx: 1 },
    3: { tx: 1 },
  });
  t.deepEqual(run(h, 4, frame(mac('02:00:00:00:00:0d'), mac('02:00:00:00:00:0d'))), {
    4: { rx: 1, 'drop hairpin': 1 },
  });
  const inward = make(mirror({ fromNetwork: 1, to: 4, outgoing: false }));
  t.deepEqual(run(inward, 4, frame(A, mac('02:00:00:00:00:0d'))), { 4: { rx: 1 }, 1: { tx: 1 } });
  t.true(h.isWhole);
});

test('two mirrors: each its copy, one target not two', (t) => {
  const h = make(mirror({ fromPort: 1, to: 5 }), mirror({ id: 2, fromNetwork: 1, to: 5, outgoing: false }));
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1, copies: 1 }, 2: { tx: 1 }, 5: { tx: 1 } });
  h.topology.addMirror(mirror({ id: 3, fromPort: 1, to: 3, outgoing: false }));
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1, copies: 2 }, 2: { tx: 1 }, 3: { tx: 1 }, 5: { tx: 1 } });
  h.topology.removeMirror(1);
  h.topology.removeMirror(2);
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1, copies: 1 }, 2: { tx: 1 }, 3: { tx: 1 } });
  h.topology.removeMirror(3);
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1 }, 2: { tx: 1 } });
  t.is(h.dataplane.ports[1].mirrorIn, null, 'what is not mirrored costs nothing');
});

test('frames that are dropped were received: they are copied, unless they are none', (t) => {
  const h = make(mirror({ fromPort: 1, to: 5 }));
  t.deepEqual(run(h, 1, frame(A, A)), { 1: { rx: 1, copies: 1, 'drop hairpin': 1 }, 5: { tx: 1 } });
  t.deepEqual(run(h, 1, frame(A, BROADCAST)), { 1: { rx: 1, copies: 1, 'drop source_multicast': 1 }, 5: { tx: 1 } });
  t.deepEqual(run(h, 1, frame(A, B).subarray(0, 13)), { 1: { rx: 1, 'drop runt': 1 } });
  const bad = h.changes(() => h.dataplane.process(h.load(1, frame(B, A), { gsoType: 77, gsoSize: 1 })));
  t.deepEqual(bad, { 1: { rx: 1, 'drop vnet_header': 1 } });
  t.true(h.isWhole);
});

test('a mirrored frame changes its tag only in a copy while the mirror’s is in flight', (t) => {
  for (const deferred of [false, true]) {
    const h = new Harness(0, { deferred });
    h.addVlanNetwork([10, 20]);
    const access = (native: number): PortOptions => ({ vlan: { native, tagged: [] } });
    h.addPorts(access(10), { vlan: { native: 0, tagged: [10, 20] } }, access(20));
    h.topology.addNetwork(2, 300, 100);
    h.topology.addPort(4, 2);
    h.topology.addMirror(mirror({ fromNetwork: 1, to: 4 }));
    const sent = frame(BROADCAST, A, [5]);
    const out = h.receive(1, sent);
    t.deepEqual(
      out.map(({ port, frame: bytes }) => [port, Buffer.from(bytes).toString('hex')]).sort(),
      [
        [2, Buffer.from(tagged(sent, 10)).toString('hex')],
        [4, Buffer.from(sent).toString('hex')],
        [4, Buffer.from(tagged(sent, 10)).toString('hex')],
      ].sort(),
      'as it came in, and as it went out',
    );
    t.true(h.isWhole);
  }
});

test('a target in quarantine gets nothing, and again when it is released', (t) => {
  const h = make(mirror({ fromPort: 1, to: 5 }));
  h.topology.quarantine(h.dataplane.ports[5], 10);
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1 }, 2: { tx: 1 } });
  h.passTo(10);
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1, copies: 1 }, 2: { tx: 1 }, 5: { tx: 1 } });
});

test('a mirror ends with its target, with its port and with its network', (t) => {
  const target = make(mirror({ fromPort: 1, to: 5 }));
  target.topology.removePort(5);
  t.deepEqual(run(target, 1, frame(B, A)), { 1: { rx: 1 }, 2: { tx: 1 } });
  target.topology.addPort(5, 2);
  t.deepEqual(run(target, 1, frame(B, A)), { 1: { rx: 1 }, 2: { tx: 1 } }, 'the next of its number is not watched for');
  const source = make(mirror({ fromPort: 3, to: 5 }));
  source.topology.removePort(3);
  source.topology.addPort(3, 1);
  t.deepEqual(run(source, 3, frame(A, B))[5], undefined);
  const network = make(mirror({ fromNetwork: 1, to: 5 }));
  for (const port of [1, 2, 3, 4]) network.topology.removePort(port);
  network.topology.removeNetwork(1);
  network.topology.addNetwork(1, 300, 100);
  network.topology.addPort(1, 1);
  network.topology.addPort(2, 1);
  t.deepEqual(run(network, 1, frame(BROADCAST, A)), { 1: { rx: 1 }, 2: { tx: 1 } });
});

test('a port that joins a mirrored network later is watched as well', (t) => {
  const h = make(mirror({ fromNetwork: 1, to: 5, outgoing: false }));
  h.topology.addPort(6, 1);
  t.deepEqual(run(h, 6, frame(A, mac('02:00:00:00:00:0e'))), { 1: { tx: 1 }, 5: { tx: 1 }, 6: { rx: 1, copies: 1 } });
});

test('the mirror’s copy teaches nothing in the watcher’s network', (t) => {
  const h = make(mirror({ fromPort: 1, to: 5 }));
  run(h, 1, frame(B, A));
  t.is(h.dataplane.fdb.search((2 << 16) | 0x0200, 0x0a), 0);
});

test('a mirror that cannot be is refused in one line', (t) => {
  const h = make();
  t.throws(() => h.topology.addMirror(mirror({ fromPort: 1, to: 1 })), {
    message: 'a mirror cannot send to the port it copies',
  });
  t.throws(() => h.topology.addMirror(mirror({ fromPort: 1, to: 9 })), { message: 'no port number 9' });
  t.throws(() => h.topology.addMirror(mirror({ fromPort: 9, to: 1 })), { message: 'no port number 9' });
  t.throws(() => h.topology.addMirror(mirror({ fromNetwork: 9, to: 1 })), { message: 'no network number 9' });
  t.deepEqual(run(h, 1, frame(B, A)), { 1: { rx: 1 }, 2: { tx: 1 } });
});
