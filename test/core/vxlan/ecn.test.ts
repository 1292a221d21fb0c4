/** ECN through a tunnel, all combinations both ways: RFC 6040, figures 3 and 4. */

import test from 'ava';
import { frame } from '../../support/harness.js';
import { ipOf, read } from '../nat/wire.js';
import { CODEPOINT_NAMES, CODEPOINTS, DROPPED, decapsulated, encapsulated } from './support/ecn.js';
import { datagram, type Family, segment, superSegment, trafficClassOf, withTrafficClass } from './support/inner.js';
import { BLUE, container, delivered, expectWhole, Host, Overlay, UPLINK_PORT, vtepPort } from './support/lab.js';
import { wireFrames } from './support/nic.js';
import { outer } from './support/outer.js';

const HERE = container(1, 1);
const THERE = container(2, 1);
const FAMILIES: readonly Family[] = [4, 6];
/** A DSCP that must stay as it is. */
const DSCP = 0x2e << 2;

function host(family: Family): Host {
  const one = new Host(1, { family });
  one.know(2);
  one.addVtep(BLUE, vtepPort(BLUE, 2), family === 4 ? '10.77.0.2' : 'fd77::2');
  one.receive(1, datagram(HERE, container(1, 2)));
  return one;
}

for (const family of FAMILIES) {
  for (const inside of FAMILIES) {
    test(`IPv${inside} over IPv${family}: into the tunnel`, (t) => {
      const one = host(family);
      for (const ecn of CODEPOINTS) {
        const [{ trafficClass }] = one.outers(
          1,
          withTrafficClass(datagram(HERE, THERE, { family: inside }), DSCP | ecn),
        );
        t.is(trafficClass & 3, encapsulated(ecn), CODEPOINT_NAMES[ecn]);
      }
    });

    test(`IPv${inside} over IPv${family}: out of the tunnel`, (t) => {
      const one = host(family);
      let drops = 0;
      for (const within of CODEPOINTS) {
        for (const around of CODEPOINTS) {
          const what = `${CODEPOINT_NAMES[within]} inside, ${CODEPOINT_NAMES[around]} outside`;
          for (const whole of [datagram(THERE, HERE, { family: inside }), segment(THERE, HERE, { family: inside })]) {
            const inner = withTrafficClass(whole, DSCP | within);
            const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { trafficClass: around }), inner));
            const expected = decapsulated(within, around);
            if (expected === DROPPED) {
              t.deepEqual(delivered(sent), [], what);
              t.is(one.dropped().vxlan_ecn, ++drops, what);
              continue;
            }
            t.deepEqual(
              sent.map((each) => each.frame),
              [withTrafficClass(inner, DSCP | expected)],
              what,
            );
            t.notThrows(() => read(ipOf(sent[0].frame)), `${what}: checksums`);
          }
        }
      }
      expectWhole(t, one);
    });
  }

  test(`over IPv${family}: what has no ECN field passes whatever the network says`, (t) => {
    const one = host(family);
    const inner = frame([...HERE.mac], [...THERE.mac], [0x45, 3, 0, 46]);
    for (const around of CODEPOINTS) {
      const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { trafficClass: around }), inner));
      t.deepEqual(
        sent.map((each) => each.frame),
        [inner],
        CODEPOINT_NAMES[around],
      );
    }
    expectWhole(t, one);
  });
}

test('the outer DSCP is not copied inside', (t) => {
  const one = host(4);
  const inner = withTrafficClass(datagram(THERE, HERE), 0x08);
  const sent = one.receive(UPLINK_PORT, outer(one.outerFrom(2, { trafficClass: 0xb8 }), inner));
  t.deepEqual(
    sent.map((each) => each.frame),
    [inner],
  );
});

test('congestion on the way marks every segment of a super-packet that is ECN-capable, and loses the others', (t) => {
  for (const checksum of [false, true]) {
    const overlay = new Overlay(2, { vxlan: { [BLUE]: { checksum } } }, 'wire');
    for (const within of CODEPOINTS) {
      const { frame: bytes, vnet } = superSegment(HERE, THERE, 10_000, 1398);
      overlay.host(2).receive(1, datagram(THERE, container(2, 2)));
      const packets = overlay.host(1).outers(1, withTrafficClass(bytes, within), vnet);
      t.true(packets.every(({ trafficClass }) => trafficClass === within));
      const marked = packets.map(({ inner }) => ({
        frame: outer(overlay.host(2).outerFrom(1, { trafficClass: 3 }), inner),
        vnet: null,
      }));
      const sent = overlay.host(2).receiveAll(UPLINK_PORT, marked);
      const segments = sent.flatMap(wireFrames);
      const expected = decapsulated(within, 3);
      if (expected === DROPPED) {
        t.deepEqual(segments, []);
        t.is(overlay.host(2).dropped().vxlan_ecn, 8);
      } else {
        t.is(segments.length, 8, CODEPOINT_NAMES[within]);
        t.true(
          segments.every((each) => trafficClassOf(each) === expected),
          CODEPOINT_NAMES[within],
        );
      }
    }
    expectWhole(t, overlay);
  }
});
