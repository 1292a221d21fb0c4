/** What is answered here instead of being sent to every VTEP, what is not, and what is told as missing. */

import test from 'ava';
import { EVENT_ADDRESS, EVENT_L2_MISS, EVENT_L3_MISS, EVENT_RECORD } from '../../../core/events.js';
import { NEIGHBOR_DELAY, NEIGHBOR_STALE } from '../../../core/router/neighbors.js';
import { CONTINUE, LOCAL } from '../../../core/verdict.js';
import { Suppressor } from '../../../core/vxlan/suppress.js';
import { A, A2, gatewayMac, word4 } from '../router/lab.js';
import {
  address,
  advertisementBody,
  arpFrame,
  FLAG_OVERRIDE,
  FLAG_ROUTER,
  FLAG_SOLICITED,
  hexOf,
  high,
  low,
  ndFrame,
  SOURCE_OPTION,
  solicitationBody,
  solicitedNode,
  TARGET_OPTION,
} from '../router/neighbor-context.js';
import { OverlayLab, VTEP, VTEP2 } from './overlay-lab.js';
import { BLUE, container, expectWhole, Overlay, placesOf, wordsOf } from './support/lab.js';

const FAR_MAC = [0x02, 0x42, 0, 0, 0, 0x50];
const OTHER_MAC = [0x02, 0x42, 0, 0, 0, 0x51];
const FAR = '10.1.0.50';
const FAR6 = 'fd00:1::50';

interface Scene {
  readonly lab: OverlayLab;
  readonly suppressor: Suppressor;
}

function scene(suppress = true): Scene {
  const lab = new OverlayLab({}, { suppress });
  lab.events();
  return { lab, suppressor: new Suppressor(lab.dataplane) };
}

/** The gateway knows who is far: at FAR_MAC, which is behind a VTEP. */
function knowing(port = VTEP): Scene {
  const s = scene();
  for (const far of [FAR, FAR6]) know(s, far, FAR_MAC);
  s.lab.bind(FAR_MAC, port);
  return s;
}

function know({ lab }: Scene, of: string, mac: readonly number[]): void {
  lab.router.neighbors.setPermanent(lab.iface(1), ...address(of), high(mac), low(mac));
}

interface Outcome {
  readonly verdict: number;
  /** "port hex" of what was sent. */
  readonly sent: string[];
}

function consider({ lab, suppressor }: Scene, frame: Uint8Array, port = A.port, gateway = true): Outcome {
  let verdict = -1;
  const sent = lab.sentBy(() => {
    verdict = lab.with(port, frame, (packet) => suppressor.consider(packet, lab.domain, gateway ? lab.iface(1) : null));
  });
  return { verdict, sent: sent.map((one) => `${one.port} ${hexOf(one.frame)}`) };
}

/** Events of misses as text; all events are then forgotten. */
function misses({ lab }: Scene): string[] {
  const { events } = lab.dataplane;
  const all: string[] = [];
  for (let i = 0; i < events.count; i++) {
    const words = events.words.subarray(i * EVENT_RECORD, (i + 1) * EVENT_RECORD);
    const [kind, domain, port, , macHigh, macLow] = words;
    if (kind !== EVENT_L2_MISS && kind !== EVENT_L3_MISS) continue;
    const hex = [...words.subarray(EVENT_ADDRESS)].map((word) => (word >>> 0).toString(16)).join(':');
    const mac = macHigh.toString(16).padStart(4, '0') + (macLow >>> 0).toString(16).padStart(8, '0');
    all.push(`${kind === EVENT_L2_MISS ? `mac ${mac}` : `ip ${hex}`} ${domain} ${port}`);
  }
  events.clear();
  return all;
}

const request = (target: string, more: object = {}): Uint8Array =>
  arpFrame({ senderMac: A.mac, sender: A.v4, target, ...more });

const solicitation = (target: string, more: object = {}): Uint8Array =>
  ndFrame({
    fromMac: A.mac,
    source: A.v6,
    destination: solicitedNode(target),
    type: 135,
    body: solicitationBody(target, SOURCE_OPTION(A.mac)),
    ...more,
  });

test('an ARP request for who is known behind a VTEP is answered to the asker alone', (t) => {
  const s = knowing();
  const reply = arpFrame({ to: A.mac, operation: 2, senderMac: FAR_MAC, sender: FAR, targetMac: A.mac, target: A.v4 });
  t.deepEqual(consider(s, request(FAR)), { verdict: LOCAL, sent: [`${A.port} ${hexOf(reply)}`] });
  t.deepEqual(misses(s), []);
  t.is(s.suppressor.answered, 1);
  t.is(s.lab.arena.available, s.lab.arena.slotCount);
});

test('so is a solicitation, from the target itself, without the override flag', (t) => {
  const s = knowing();
  const expected = ndFrame({
    toMac: A.mac,
    fromMac: FAR_MAC,
    source: FAR6,
    destination: A.v6,
    type: 136,
    body: advertisementBody(FLAG_SOLICITED, FAR6, TARGET_OPTION(FAR_MAC)),
  });
  t.deepEqual(consider(s, solicitation(FAR6)), { verdict: LOCAL, sent: [`${A.port} ${hexOf(expected)}`] });
});

test('a neighbor that routes is said to route', (t) => {
  const s = knowing();
  const neighbor = s.lab.router.neighbors.find6(1, ...address(FAR6));
  if (neighbor !== null) neighbor.isRouter = 1;
  const { sent } = consider(s, solicitation(FAR6));
  t.is(sent[0].slice(2 + 2 * 58, 2 + 2 * 59), 'c0');
});

for (const [what, frame] of [
  ['a gratuitous request', request(FAR, { sender: FAR })],
  ['a probe', request(FAR, { sender: '0.0.0.0' })],
  ['a reply to everybody', request(FAR, { operation: 2 })],
  ['a request whose sender is a group', request(FAR, { from: A.mac, senderMac: [1, 0, 0, 0, 0, 1] })],
  ['a request of who has the address', request(FAR, { senderMac: FAR_MAC, sender: '10.1.0.51' })],
  ['ARP cut short', request(FAR).slice(0, 40)],
  ['a tagged request', tagged(request(FAR))],
  ['duplicate address detection', solicitation(FAR6, { source: '::', body: solicitationBody(FAR6, []) })],
  ['a solicitation without a MAC', solicitation(FAR6, { body: solicitationBody(FAR6, []) })],
  ['one with a wrong checksum', solicitation(FAR6, { damage: 1 })],
  ['one that came through a router', solicitation(FAR6, { hopLimit: 254 })],
  ['one to all nodes', solicitation(FAR6, { destination: 'ff02::1' })],
  ['one for a group', solicitation('ff15::1', { destination: solicitedNode(FAR6) })],
  ['one for a mapped address', solicitation('::ffff:a01:32', { destination: solicitedNode('::ffff:a01:32') })],
  ['one whose option is empty', solicitation(FAR6, { body: solicitationBody(FAR6, [1, 0, ...A.mac]) })],
  ['a cut solicitation', solicitation(FAR6, { body: [0, 0, 0, 0, 1, 2, 3, 4] })],
  ['an unsolicited advertisement', solicitation(FAR6, { type: 136, destination: 'ff02::1' })],
  ['an echo request to all nodes', solicitation(FAR6, { type: 128, destination: 'ff02::1' })],
] as const) {
  test(`goes to everybody, and misses nothing: ${what}`, (t) => {
    const s = knowing();
    t.deepEqual(consider(s, frame), { verdict: CONTINUE, sent: [] });
    t.deepEqual(misses(s), []);
  });
}

function tagged(frame: Uint8Array): Uint8Array {
  return Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, 0, 10, ...frame.subarray(12)]);
}

test('who is known behind a port of this host answers for himself', (t) => {
  const s = knowing(A2.port);
  for (const frame of [request(FAR), solicitation(FAR6)]) {
    t.deepEqual(consider(s, frame), { verdict: CONTINUE, sent: [] });
  }
  t.deepEqual(misses(s), []);
});

test('what is not known is told, once a second, and asked of everybody', (t) => {
  const s = knowing();
  const ask = (): void => {
    t.is(consider(s, request('10.1.0.99')).verdict, CONTINUE);
    t.is(consider(s, solicitation('fd00:1::99')).verdict, CONTINUE);
  };
  ask();
  t.deepEqual(misses(s), [`ip 0:0:ffff:a010063 1 ${A.port}`, `ip fd000001:0:0:99 1 ${A.port}`]);
  ask();
  t.deepEqual(misses(s), []);
  s.lab.passTo(s.lab.dataplane.now + 1);
  ask();
  t.is(misses(s).length, 2);
});

test('who is being asked for, and has not answered, is missing', (t) => {
  const s = knowing();
  s.lab.router.neighbors.seek(s.lab.iface(1), 0, 0, 0xffff, word4('10.1.0.99'), A.port);
  t.is(consider(s, request('10.1.0.99')).verdict, CONTINUE);
  t.deepEqual(misses(s), [`ip 0:0:ffff:a010063 1 ${A.port}`]);
});

test('a known neighbor whose MAC is nowhere: the MAC is missing', (t) => {
  const s = scene();
  know(s, FAR, FAR_MAC);
  t.deepEqual(consider(s, request(FAR)), { verdict: CONTINUE, sent: [] });
  t.deepEqual(misses(s), [`mac 024200000050 1 ${A.port}`]);
});

test('a frame to a MAC that nobody knows: told, once a second', (t) => {
  const s = scene();
  const frame = request(FAR, { to: OTHER_MAC });
  t.deepEqual(consider(s, frame), { verdict: CONTINUE, sent: [] });
  consider(s, frame);
  t.deepEqual(misses(s), [`mac 024200000051 1 ${A.port}`]);
});

test('switched off, or without a gateway, nothing is answered nor an address missed; MACs are', (t) => {
  const off = scene(false);
  know(off, FAR, FAR_MAC);
  off.lab.bind(FAR_MAC, VTEP);
  const without = knowing();
  for (const [s, gateway] of [
    [off, true],
    [without, false],
  ] as const) {
    for (const frame of [request(FAR), request('10.1.0.99'), solicitation(FAR6)]) {
      t.deepEqual(consider(s, frame, A.port, gateway), { verdict: CONTINUE, sent: [] });
    }
    t.deepEqual(misses(s), []);
    consider(s, request(FAR, { to: OTHER_MAC }), A.port, gateway);
    t.is(misses(s).length, 1);
  }
});

test('a scan is told of in part only, and another port is still heard', (t) => {
  const s = scene();
  let told = 0;
  for (let i = 0; i < 4000; i++) {
    consider(s, request(`10.1.${i >> 8}.${i & 255}`));
    told += misses(s).length;
    if (i % 1000 === 999) s.lab.passTo(s.lab.dataplane.now + 1);
  }
  t.true(told >= 20 && told <= 4 * 50 + 20, `${told} in four seconds`);
  consider(s, request('10.1.77.1', { senderMac: A2.mac, sender: A2.v4 }), A2.port);
  t.is(misses(s).length, 1);
  let ofAll = 0;
  for (let port = 1; port < 200; port++) {
    for (let i = 0; i < 10; i++) consider(s, request(`10.1.${port}.${i}`), port);
    ofAll += misses(s).length;
  }
  t.true(ofAll <= 50, `${ofAll} at once`);
});

test('an answer out of a stale entry has it asked whether it is still there', (t) => {
  const s = scene();
  s.lab.bind(FAR_MAC, VTEP);
  const iface = s.lab.iface(1);
  s.lab.router.neighbors.learn(iface, ...address(FAR), high(FAR_MAC), low(FAR_MAC), 16, VTEP);
  t.is(s.lab.router.neighbors.find4(1, word4(FAR))?.state, NEIGHBOR_STALE);
  t.is(consider(s, request(FAR)).verdict, LOCAL);
  t.is(s.lab.router.neighbors.find4(1, word4(FAR))?.state, NEIGHBOR_DELAY);
});

test('without a free slot the question goes to everybody', (t) => {
  const s = knowing();
  for (const frame of [request(FAR), solicitation(FAR6)]) {
    const verdict = s.lab.with(A.port, frame, (packet) => {
      const taken: number[] = [];
      for (let slot = s.lab.arena.allocate(); slot >= 0; slot = s.lab.arena.allocate()) taken.push(slot);
      const answer = s.suppressor.consider(packet, s.lab.domain, s.lab.iface(1));
      for (const slot of taken) s.lab.arena.release(slot);
      return answer;
    });
    t.is(verdict, CONTINUE);
  }
  t.is(s.lab.arena.available, s.lab.arena.slotCount);
});

// --- what a tunnel tells

function learnFrom({ lab, suppressor }: Scene, frame: Uint8Array, port = VTEP2, gateway = true): void {
  lab.with(port, frame, (packet) => suppressor.learnFrom(packet, lab.domain, gateway ? lab.iface(1) : null));
}

function macOf({ lab }: Scene, of: string): string {
  const neighbor = lab.router.neighbors.find6(1, ...address(of));
  if (neighbor === null) return 'none';
  return neighbor.macHigh.toString(16).padStart(4, '0') + (neighbor.macLow >>> 0).toString(16).padStart(8, '0');
}

/** FAR and FAR6 were learned at FAR_MAC; OTHER_MAC is behind VTEP2. */
function learned(): Scene {
  const s = scene();
  for (const far of [FAR, FAR6])
    s.lab.router.neighbors.learn(s.lab.iface(1), ...address(far), high(FAR_MAC), low(FAR_MAC), 16, VTEP);
  s.lab.bind(FAR_MAC, VTEP);
  s.lab.bind(OTHER_MAC, VTEP2);
  return s;
}

const reply = (more: object = {}): Uint8Array =>
  arpFrame({
    to: A.mac,
    from: OTHER_MAC,
    operation: 2,
    senderMac: OTHER_MAC,
    sender: FAR,
    targetMac: A.mac,
    target: A.v4,
    ...more,
  });

const advertisement = (more: object = {}, flags = FLAG_SOLICITED | FLAG_OVERRIDE): Uint8Array =>
  ndFrame({
    toMac: A.mac,
    fromMac: OTHER_MAC,
    source: FAR6,
    destination: A.v6,
    type: 136,
    body: advertisementBody(flags, FAR6, TARGET_OPTION(OTHER_MAC)),
    ...more,
  });

test('an answer to an endpoint moves who is known, and confirms nothing', (t) => {
  const s = learned();
  learnFrom(s, reply());
  learnFrom(s, advertisement({}, FLAG_SOLICITED | FLAG_OVERRIDE | FLAG_ROUTER));
  t.deepEqual([macOf(s, FAR), macOf(s, FAR6)], ['024200000051', '024200000051']);
  for (const far of [FAR, FAR6]) t.is(s.lab.router.neighbors.find6(1, ...address(far))?.state, NEIGHBOR_STALE);
  t.is(s.lab.router.neighbors.find6(1, ...address(FAR6))?.isRouter, 1);
});

for (const [what, frame, port] of [
  ['of a MAC that is behind another VTEP', reply(), VTEP],
  ['of a MAC that nobody knows', reply({ from: [2, 0, 0, 0, 0, 99], senderMac: [2, 0, 0, 0, 0, 99] }), VTEP2],
  ['of somebody else', reply({ senderMac: [2, 0, 0, 0, 0, 99] }), VTEP2],
  ['to everybody, which the router hears', reply({ to: [255, 255, 255, 255, 255, 255] }), VTEP2],
  ['cut short', reply().slice(0, 40), VTEP2],
  ['tagged', tagged(reply()), VTEP2],
  ['from no address', reply({ sender: '0.0.0.0' }), VTEP2],
  [
    'for a mapped address',
    advertisement({ body: advertisementBody(FLAG_OVERRIDE, '::ffff:a01:32', TARGET_OPTION(OTHER_MAC)) }),
    VTEP2,
  ],
  ['without override', advertisement({}, FLAG_SOLICITED), VTEP2],
  ['without a MAC', advertisement({ body: advertisementBody(FLAG_OVERRIDE, FAR6, []) }), VTEP2],
  ['with a wrong checksum', advertisement({ damage: 1 }), VTEP2],
  ['with another hop limit', advertisement({ hopLimit: 64 }), VTEP2],
  ['that is cut', advertisement({ body: [0, 0, 0, 0] }), VTEP2],
  [
    'with the MAC of somebody else',
    advertisement({ body: advertisementBody(FLAG_OVERRIDE, FAR6, TARGET_OPTION(A.mac)) }),
    VTEP2,
  ],
  ['of another type', advertisement({ type: 129 }), VTEP2],
] as const) {
  test(`an answer is not believed: ${what}`, (t) => {
    const s = learned();
    learnFrom(s, frame, port);
    t.deepEqual([macOf(s, FAR), macOf(s, FAR6)], ['024200000050', '024200000050']);
  });
}

test('what is not known is not learned, nor what was told changed, nor anything without a gateway', (t) => {
  const s = learned();
  learnFrom(s, reply({ sender: '10.1.0.77' }));
  t.is(macOf(s, '10.1.0.77'), 'none');
  learnFrom(s, reply(), VTEP2, false);
  t.is(macOf(s, FAR), '024200000050');
  know(s, FAR, FAR_MAC);
  learnFrom(s, reply());
  t.is(macOf(s, FAR), '024200000050');
});

test("the gateway's MAC is never one that a VTEP's neighbor has", (t) => {
  const s = learned();
  learnFrom(s, reply({ from: gatewayMac(1), senderMac: gatewayMac(1) }));
  t.is(macOf(s, FAR), '024200000050');
});

// --- between hosts

/** Two hosts; host 1 knows where the first container of host 2 is. */
function stretched(): Overlay {
  const overlay = new Overlay(2, { vxlan: { [BLUE]: { suppress: true } } });
  const { mac, v4, v6 } = container(2, 1);
  overlay.send(2, 1, arpFrame({ senderMac: mac, sender: v4, target: v4 }));
  const { router } = overlay.host(1).dataplane;
  for (const address of [v4, v6])
    router.neighbors.setPermanent(router.interface(BLUE), ...words(address), high(mac), low(mac));
  overlay.host(1).events();
  return overlay;
}

const words = (text: string): [number, number, number, number] =>
  [...wordsOf(text)] as [number, number, number, number];

test('between hosts: a known container is not asked for through the tunnel, and the asker does not notice', (t) => {
  const overlay = stretched();
  const [one, two] = [container(1, 1), container(2, 1)];
  const questions = [
    arpFrame({ senderMac: one.mac, sender: one.v4, target: two.v4 }),
    ndFrame({
      fromMac: one.mac,
      source: one.v6,
      destination: solicitedNode(two.v6),
      type: 135,
      body: solicitationBody(two.v6, SOURCE_OPTION(one.mac)),
    }),
  ];
  for (const question of questions) {
    const arrivals = overlay.send(1, 1, question);
    t.deepEqual(placesOf(arrivals), ['1/1']);
    t.deepEqual([...arrivals[0].frame.subarray(0, 12)], [...one.mac, ...two.mac]);
    t.deepEqual(overlay.outers, []);
  }
  t.deepEqual(overlay.host(1).events(), []);
  expectWhole(t, overlay);
});

test('between hosts: who is not known is asked for everywhere, and told of', (t) => {
  const overlay = stretched();
  const [one, two] = [container(1, 1), container(2, 2)];
  const arrivals = overlay.send(1, 1, arpFrame({ senderMac: one.mac, sender: one.v4, target: two.v4 }));
  t.deepEqual(placesOf(arrivals), ['1/2', '1/3', '2/1', '2/2', '2/3']);
  t.deepEqual(
    overlay
      .host(1)
      .events()
      .map(({ kind, domain, port }) => [kind, domain, port]),
    [[EVENT_L3_MISS, BLUE, 1]],
  );
  t.deepEqual(overlay.host(2).events(), [], 'what comes out of a tunnel misses nothing');
  expectWhole(t, overlay);
});

test('between hosts: what a container answers to another tells the gateway where it is now', (t) => {
  const overlay = stretched();
  const [one, two] = [container(1, 1), container(2, 2)];
  const { neighbors } = overlay.host(1).dataplane.router;
  const iface = overlay.host(1).dataplane.router.interface(BLUE);
  neighbors.learn(iface, ...words(two.v4), high(OTHER_MAC), low(OTHER_MAC), 16, 1);
  overlay.send(1, 1, arpFrame({ senderMac: one.mac, sender: one.v4, target: one.v4 }));
  const answer = arpFrame({
    to: one.mac,
    operation: 2,
    senderMac: two.mac,
    sender: two.v4,
    targetMac: one.mac,
    target: one.v4,
  });
  t.deepEqual(placesOf(overlay.send(2, 2, answer)), ['1/1']);
  t.is(neighbors.find6(BLUE, ...words(two.v4))?.macLow, low(two.mac));
});
