import test from 'ava';
import { FLOW_RELATED } from '../../../core/nat/flow.js';
import { A, expectWhole, OUTSIDE, UPLINK, word4 } from '../router/lab.js';
import { flowStates, natLab, publish, sendDatagram, UPLINK4, UPLINK6 } from './talk.js';

const UDP = 17;
const READ = '\x00\x01name\x00octet\x00';
const WRITE = '\x00\x02name\x00octet\x00';
const DATA = '\x00\x03\x00\x01contents';

test('the answer to a request comes from another port, and reaches who asked', (t) => {
  for (const [request, to, own] of [
    [READ, OUTSIDE.v4, UPLINK4],
    [WRITE, OUTSIDE.v6, UPLINK6],
  ]) {
    const lab = natLab();
    const asked = sendDatagram(lab, A, 3000, to, 69, request);
    t.is(asked?.port, OUTSIDE.port);
    const answered = sendDatagram(lab, OUTSIDE, 4000, own, asked?.fromPort as number, DATA);
    t.is(answered?.port, A.port);
    t.is(answered?.toPort, 3000);
    t.is(answered?.fromPort, 4000);
    const acknowledged = sendDatagram(lab, A, 3000, to, 4000, '\x00\x04\x00\x01');
    t.is(acknowledged?.fromPort, asked?.fromPort);
    t.is(sendDatagram(lab, OUTSIDE, 4001, own, asked?.fromPort as number, DATA), null, 'one port, and no other');
    t.truthy(flowStates(lab)[asked?.fromPort as number] & FLOW_RELATED);
    expectWhole(t, lab);
  }
});

test('without a request, or without the gateway, no other port is let in', (t) => {
  const lab = natLab();
  const asked = sendDatagram(lab, A, 3000, OUTSIDE.v4, 69, DATA);
  t.is(sendDatagram(lab, OUTSIDE, 4000, UPLINK4, asked?.fromPort as number, DATA), null);
  const short = sendDatagram(lab, A, 3001, OUTSIDE.v4, 69, '\x00');
  t.is(sendDatagram(lab, OUTSIDE, 4000, UPLINK4, short?.fromPort as number, DATA), null);
  const off = natLab({}, 0);
  const other = sendDatagram(off, A, 3000, OUTSIDE.v4, 69, READ);
  t.is(sendDatagram(off, OUTSIDE, 4000, UPLINK4, other?.fromPort as number, DATA), null);
});

test('a server behind a published port answers from the address that it was asked at', (t) => {
  const lab = natLab();
  const second = '10.4.0.77';
  lab.change(UPLINK, { addresses4: Int32Array.of(word4(UPLINK4), 0xffffff00 | 0, word4(second), 0xffffff00 | 0) });
  publish(lab, UDP, second, 69, A.v4, 69);
  const asked = sendDatagram(lab, OUTSIDE, 3000, second, 69, READ);
  t.is(asked?.to, A.v4);
  const answered = sendDatagram(lab, A, 4000, OUTSIDE.v4, 3000, DATA);
  t.is(answered?.from, second);
  const acknowledged = sendDatagram(lab, OUTSIDE, 3000, second, answered?.fromPort as number, '\x00\x04\x00\x01');
  t.is(acknowledged?.toPort, 4000);
  t.is(acknowledged?.to, A.v4);
  expectWhole(t, lab);
});
