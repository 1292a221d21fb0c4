/** The link-local address that a host's gateway asks from through tunnels: it is answered for, and nobody else's is. */

import test from 'ava';
import { INTERFACE_NETWORK, type InterfaceOptions } from '../../../core/router/interface.js';
import {
  advertisementBody,
  arpFrame,
  FLAG_OVERRIDE,
  FLAG_ROUTER,
  FLAG_SOLICITED,
  hexOf,
  ndFrame,
  SOURCE_OPTION,
  solicitationBody,
  TARGET_OPTION,
} from '../router/neighbor-context.js';
import { datagram } from './support/inner.js';
import {
  BLUE,
  container,
  expectWhole,
  GATEWAY_MAC,
  Host,
  hostMac,
  Overlay,
  outersOf,
  placesOf,
  UPLINK_PORT,
  VRF,
  vtepPort,
  wordsOf,
} from './support/lab.js';
import { outer } from './support/outer.js';

/** Of host 1 in the first network: that of MAC 02:48:00:00:01:01. */
const HOST_ADDRESS = 'fe80::48:ff:fe00:101';
const MAC = hostMac(1, BLUE);
const asker = container(2, 1);

/** The container on host 2 asks host 1. */
const question = (target = HOST_ADDRESS, more: object = {}): Uint8Array =>
  ndFrame({
    toMac: MAC,
    fromMac: asker.mac,
    source: asker.v6,
    destination: HOST_ADDRESS,
    type: 135,
    body: solicitationBody(target, SOURCE_OPTION(asker.mac)),
    ...more,
  });

/** A host that knows host 2, and what it sends through tunnels because of an inner frame from there. */
function hostOne(): { host: Host; hear: (inner: Uint8Array) => string[] } {
  const { hosts } = new Overlay(2);
  const [host] = hosts;
  const hear = (inner: Uint8Array): string[] =>
    outersOf(host.receive(UPLINK_PORT, outer(host.outerFrom(2), inner))).map((one) => hexOf(one.inner));
  return { host, hear };
}

const answer = (more: object = {}): string =>
  hexOf(
    ndFrame({
      toMac: asker.mac,
      fromMac: MAC,
      source: HOST_ADDRESS,
      destination: asker.v6,
      type: 136,
      body: advertisementBody(FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE, HOST_ADDRESS, TARGET_OPTION(MAC)),
      ...more,
    }),
  );

test('the whole talk: the gateway asks, is answered, and is asked in turn', (t) => {
  const overlay = new Overlay(2);
  const asked = overlay.send(1, 4, datagram(container(1, 4), { ...asker, mac: GATEWAY_MAC }, { family: 6 }));
  const solicitation = asked.find(({ host, port }) => host === 2 && port === 1);
  t.is(hexOf((solicitation?.frame ?? new Uint8Array(0)).subarray(22, 38)), 'fe80000000000000004800fffe000101');
  const reply = overlay.send(2, 1, question());
  t.deepEqual(placesOf(reply), ['2/1']);
  t.is(hexOf(reply[0].frame), answer());
  t.deepEqual(overlay.host(1).dropped(), {});
  expectWhole(t, overlay);
});

test('without an option the answer goes to the MAC that the frame came from; where one is named, there', (t) => {
  const { hear } = hostOne();
  t.deepEqual(hear(question(HOST_ADDRESS, { body: solicitationBody(HOST_ADDRESS, []) })), [answer()]);
  const other = [2, 0, 0, 0, 2, 2];
  const named = question(HOST_ADDRESS, { body: solicitationBody(HOST_ADDRESS, SOURCE_OPTION(other)) });
  t.deepEqual(hear(named), [answer({ toMac: other })]);
});

for (const [what, frame] of [
  ['from nobody', question(HOST_ADDRESS, { source: '::', body: solicitationBody(HOST_ADDRESS, []) })],
  ['from a group', question(HOST_ADDRESS, { source: 'ff02::1' })],
  ['with a wrong checksum', question(HOST_ADDRESS, { damage: 1 })],
  ['from behind a router', question(HOST_ADDRESS, { hopLimit: 254 })],
  ['with an empty option', question(HOST_ADDRESS, { body: solicitationBody(HOST_ADDRESS, [1, 0, ...MAC]) })],
  ['for another address', question('fe80::48:ff:fe00:102')],
  ['that is cut', question(HOST_ADDRESS, { body: [0, 0, 0, 0, 1] })],
  ['of another type', question(HOST_ADDRESS, { type: 128 })],
] as const) {
  test(`not answered: a question ${what}`, (t) => {
    const { host, hear } = hostOne();
    t.deepEqual(hear(frame), []);
    t.is(Object.keys(host.dropped()).length, 1);
    expectWhole(t, host);
  });
}

test("for the gateway's own address the gateway answers, by the host's MAC", (t) => {
  const { hear } = hostOne();
  const gateway = 'fd00:30::1';
  const reply = answer({
    source: gateway,
    body: advertisementBody(FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE, gateway, TARGET_OPTION(MAC)),
  });
  t.deepEqual(hear(question(gateway, { destination: gateway })), [reply]);
});

test('a flood of questions is answered in part, and nothing is lost count of', (t) => {
  const { host, hear } = hostOne();
  let answered = 0;
  for (let i = 0; i < 500; i++) answered += hear(question()).length;
  t.is(answered, 200);
  t.deepEqual(host.dropped(), {});
  expectWhole(t, host);
});

test('without a free slot there is no answer', (t) => {
  const { host } = hostOne();
  const slot = host.load(UPLINK_PORT, outer(host.outerFrom(2), question()));
  const taken: number[] = [];
  for (let one = host.arena.allocate(); one >= 0; one = host.arena.allocate()) taken.push(one);
  t.deepEqual(
    host.sentBy(() => host.dataplane.process(slot)),
    [],
  );
  for (const one of taken) host.arena.release(one);
  expectWhole(t, host);
});

test("in a network with VLANs the gateway of the VTEP's VLAN gets what is for the host", (t) => {
  const host = new Host(1, { networks: { [BLUE]: { vlanProtocol: 0x8100 } }, gateway: false });
  for (const port of [1, 2, 3]) host.topology.removePort(port);
  host.topology.addVlan(BLUE, 10, 1010);
  host.know(2);
  const local = new Host(2).dataplane.vxlan.vteps.own[0].options.local;
  const vtep = { address: local, floods: true };
  host.topology.addPort(vtepPort(BLUE, 2), BLUE, { vlan: { native: 10, tagged: [] }, isolation: 1, vtep });
  host.sentBy(() => host.dataplane.router.addInterface(BLUE, gatewayOf(1010)));
  const reply = outersOf(host.receive(UPLINK_PORT, outer(host.outerFrom(2), ping())));
  t.deepEqual(
    reply.map(({ inner }) => hexOf(inner.subarray(0, 12))),
    [hexOf([...asker.mac, ...MAC])],
  );
  t.deepEqual(host.dropped(), { 'tx host_gateway': 3 }, 'its announcements');
});

/** An interface in a domain, with the gateway's MAC. */
function gatewayOf(fid: number): InterfaceOptions {
  return {
    kind: INTERFACE_NETWORK,
    vrf: VRF,
    fid,
    port: 0,
    macHigh: 0x0200,
    macLow: 0xfe01,
    mtu: 1450,
    addresses4: Int32Array.of(wordsOf('172.30.0.1')[3], 0xffff0000 | 0),
    addresses6: Int32Array.of(...wordsOf('fd00:30::1'), 64),
  };
}

/** Of the asker, for the gateway's address, to the host's MAC. */
function ping(): Uint8Array {
  return arpFrame({ to: MAC, from: asker.mac, senderMac: asker.mac, sender: asker.v4, target: '172.30.0.1' });
}
