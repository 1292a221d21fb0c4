/** Who reaches whom, as it is wired: the matrix of networks, uplink and host for each kind of network, in both families. */

import test, { type ExecutionContext } from 'ava';
import type { PortOptions } from '../../../core/topology.js';
import {
  A,
  A2,
  B,
  B2,
  C,
  expectWhole,
  Lab,
  type LabOptions,
  message,
  message4,
  OUTSIDE,
  out4,
  out6,
  outIcmp6,
  prefix,
  readIcmp,
  type Station,
  THE_HOST,
  via,
} from './lab.js';

const known = (options: LabOptions = {}): Lab => new Lab(options).know(A, A2, B, B2, C, OUTSIDE, THE_HOST);
const PROHIBITED = ['prohibited', '3/13', '1/1'];

/** "ok", or "reason answer4 answer6". */
function reach(lab: Lab, from: Station, to: Station): string {
  const before = lab.dropped();
  const [sent4] = lab.receive(from.port, out4(from, to));
  const [sent6] = lab.receive(from.port, out6(from, to));
  const after = lab.dropped();
  const reasons = Object.keys(after).filter((reason) => after[reason] !== before[reason]);
  if (reasons.length === 0) return sent4.port === to.port && sent6.port === to.port ? 'ok' : 'astray';
  const answers = [sent4, sent6].map((sent) => {
    const { type, code, port } = readIcmp(sent);
    return port === from.port ? `${type}/${code}` : 'astray';
  });
  return [...reasons, ...answers].join(' ');
}

function expectMatrix(t: ExecutionContext, lab: Lab, rows: readonly [Station, Station, string][]): void {
  for (const [from, to, expected] of rows) {
    // Twice and a third time: what was found for the first packet must not let others through.
    for (let i = 0; i < 3; i++) t.is(reach(lab, from, to), expected, `${from.v4} → ${to.v4}`);
    lab.passTo(lab.dataplane.now + 1);
  }
  expectWhole(t, lab);
}

const prohibited = PROHIBITED.join(' ');
const internal = 'internal 3/13 1/1';
const hostAccess = 'host_access 3/13 1/1';

test('networks of a VRF that does not interconnect: each reaches itself and the uplink, none another, none the host', (t) => {
  expectMatrix(t, known({ vrf: { interconnect: false } }), [
    [A, A2, 'ok'],
    [A, B, prohibited],
    [B, A, prohibited],
    [C, B2, prohibited],
    [A, OUTSIDE, 'ok'],
    [OUTSIDE, A, 'ok'],
    [OUTSIDE, C, 'ok'],
    [THE_HOST, A, hostAccess],
    [THE_HOST, OUTSIDE, hostAccess],
  ]);
});

test('networks of a VRF that interconnects reach each other', (t) => {
  expectMatrix(t, known(), [
    [A, B, 'ok'],
    [B2, A2, 'ok'],
    [C, A, 'ok'],
    [A, OUTSIDE, 'ok'],
  ]);
});

test('an internal network reaches itself, and nobody else, in neither direction, interconnected or not', (t) => {
  for (const interconnect of [false, true]) {
    expectMatrix(t, known({ vrf: { interconnect }, interfaces: { 2: { internal: true } } }), [
      [B, B2, 'ok'],
      [A, B, internal],
      [B, A, internal],
      [B, OUTSIDE, internal],
      [OUTSIDE, B, internal],
      [A, C, interconnect ? 'ok' : prohibited],
    ]);
  }
});

test('a network with access to the host, and only that one, is reached by the host; host and uplink never reach each other', (t) => {
  const lab = known({ interfaces: { 1: { hostAccess: true }, 4: { hostAccess: true } } });
  expectMatrix(t, lab, [
    [THE_HOST, A, 'ok'],
    [THE_HOST, B, hostAccess],
    [THE_HOST, OUTSIDE, hostAccess],
    [A, OUTSIDE, 'ok'],
  ]);
  // Of the addresses on the host's side the one of the link itself.
  const HOST_LINK: Station = { ...THE_HOST, v4: '198.51.100.9', v6: '2001:db8::9' };
  lab.resolve(HOST_LINK, HOST_LINK.v4);
  lab.resolve(HOST_LINK, HOST_LINK.v6);
  lab.routeVia('198.51.100.9/32', hostHop());
  lab.routeVia('2001:db8::9/128', hostHop());
  expectMatrix(t, lab, [
    [A, HOST_LINK, 'ok'],
    [B, HOST_LINK, hostAccess],
    [OUTSIDE, HOST_LINK, hostAccess],
  ]);
});

function hostHop() {
  return via(5, null);
}

test('an internal network with access to the host reaches it, and is reached', (t) => {
  const lab = known({ interfaces: { 1: { hostAccess: true, internal: true } } });
  lab.resolve(THE_HOST, '10.1.0.1');
  expectMatrix(t, lab, [
    [THE_HOST, A, 'ok'],
    [A, OUTSIDE, internal],
    [A, B, internal],
  ]);
  t.is(lab.one(A.port, out4(A, '10.1.0.1')).port, THE_HOST.port);
  expectWhole(t, lab);
});

test('the gateways of other networks are reached as those networks are', (t) => {
  const lab = known({ vrf: { interconnect: false }, interfaces: { 3: { internal: true } } });
  const ping = (from: Station, network: number): string => {
    const [sent4] = lab.receive(from.port, out4(from, `10.${network}.0.1`, { protocol: 1 }, message4(8, 0, 1)));
    const [sent6] = lab.receive(from.port, outIcmp6(from, `fd00:${network}::1`, {}, message(128, 0, 1)));
    return `${readIcmp(sent4).type} ${readIcmp(sent6).type}`;
  };
  t.is(ping(A, 1), '0 129');
  t.is(ping(C, 3), '0 129');
  t.is(ping(A, 4), '0 129');
  t.is(ping(OUTSIDE, 1), '0 129');
  t.is(ping(A, 2), '3 1');
  t.is(ping(A, 3), '3 1');
  t.is(ping(C, 4), '3 1');
  t.deepEqual(lab.dropped(), { prohibited: 2, internal: 4 });
  expectWhole(t, lab);
});

test('reach is changed while packets go: interconnect, internal, access to the host', (t) => {
  const lab = known();
  t.is(reach(lab, A, B), 'ok');
  t.is(reach(lab, A, B), 'ok');
  lab.router.setVrf(1, { interconnect: false, recordRoute: false, timestamp: false });
  t.is(reach(lab, A, B), prohibited);
  lab.router.setVrf(1, { interconnect: true, recordRoute: false, timestamp: false });
  t.is(reach(lab, A, B), 'ok');
  lab.change(2, { internal: true });
  t.is(reach(lab, A, B), internal);
  lab.change(2, { internal: false });
  t.is(reach(lab, A, B), 'ok');
  t.is(reach(lab, THE_HOST, A), hostAccess);
  lab.change(1, { hostAccess: true });
  t.is(reach(lab, THE_HOST, A), 'ok');
  t.is(reach(lab, THE_HOST, A), 'ok');
  lab.change(1, { hostAccess: false });
  t.is(reach(lab, THE_HOST, A), hostAccess);
  expectWhole(t, lab);
});

test('isolated endpoints reach each other by no detour over their gateway, and everybody else as before', (t) => {
  const isolated = (isolation: number): PortOptions => ({ isolation });
  const lab = known({ ports: { 1: isolated(1), 2: isolated(1), 3: isolated(2), 4: isolated(2), 5: isolated(1) } });
  for (let i = 0; i < 3; i++) {
    t.deepEqual(lab.receive(A.port, out4(A, A2)), []);
    t.deepEqual(lab.receive(A.port, out6(A, A2)), []);
  }
  t.deepEqual(lab.dropped(), { isolated: 6 + 2 }, 'and the two hellos of the start');
  expectMatrix(t, lab, [
    [B, B2, 'ok'],
    [A, B, 'ok'],
    [A, C, 'ok'],
    [A, OUTSIDE, 'ok'],
    [OUTSIDE, A2, 'ok'],
  ]);
});

test('an isolated endpoint reaches its like not even where the bridge has forgotten its port', (t) => {
  const lab = known({ ports: { 1: { isolation: 1 }, 2: { isolation: 1 } } });
  lab.topology.flush(1, 0, 0);
  t.deepEqual(lab.receive(A.port, out4(A, A2)), []);
  t.deepEqual(lab.receive(A.port, out6(A, A2)), []);
  t.is(lab.dropped().isolated, 4);
  expectWhole(t, lab);
});

test('what an open endpoint of the network has found, an isolated one does not use', (t) => {
  const lab = known({ ports: { 1: { isolation: 1 }, 2: { isolation: 1 } } });
  const open: Station = { ...A, port: 10, mac: [2, 0, 0, 0, 0, 10], v4: '10.1.0.20', v6: 'fd00:1::20' };
  lab.topology.addPort(open.port, 1);
  lab.know(open);
  for (let i = 0; i < 3; i++) {
    t.is(lab.one(open.port, out4(open, A2)).port, A2.port);
    t.is(lab.one(open.port, out6(open, A2)).port, A2.port);
  }
  t.deepEqual(lab.receive(A.port, out4(A, A2)), []);
  t.deepEqual(lab.receive(A.port, out6(A, A2)), []);
  expectWhole(t, lab);
});

test('VRFs know nothing of each other, not even with the same addresses', (t) => {
  const lab = known();
  lab.router.addVrf(2, { interconnect: true, recordRoute: false, timestamp: false });
  // Network 3 leaves for the other VRF, with the addresses of network 1.
  const one = lab.iface(1);
  lab.change(3, { vrf: 2, addresses4: one.addresses4, addresses6: one.addresses6 });
  const twin: Station = { ...C, v4: A.v4, v6: A.v6 };
  lab.resolve(twin, twin.v4);
  lab.resolve(twin, twin.v6);
  const other: Station = { ...C, port: 8, mac: [2, 0, 0, 0, 0, 8], v4: A2.v4, v6: A2.v6 };
  lab.know(other);
  for (let i = 0; i < 3; i++) {
    t.is(lab.one(A2.port, out4(A2, A)).port, A.port);
    t.is(lab.one(other.port, out4(other, twin)).port, twin.port);
    t.is(lab.one(A2.port, out6(A2, A)).port, A.port);
    t.is(lab.one(other.port, out6(other, twin)).port, twin.port);
    t.is(lab.one(B.port, out4(B, A)).port, A.port);
  }
  t.is(readIcmp(lab.one(other.port, out4(other, B))).code, 0, 'no route');
  lab.router.setRoute(1, prefix('10.9.0.0/16'), 1, [via(2, B.v4)]);
  t.is(lab.one(A.port, out4(A, '10.9.0.1')).port, B.port);
  t.is(readIcmp(lab.one(other.port, out4(other, '10.9.0.1'))).code, 0);
  t.throws(() => lab.router.removeVrf(2), { message: 'VRF number 2 is in use' });
  t.deepEqual(lab.dropped(), { no_route: 2 });
  expectWhole(t, lab);
});
