/** ICMPv6 as it lies in a packet: the checksum. What the other accessors read, accessors.test.ts tells. */

import test from 'ava';
import fc from 'fast-check';
import { VNET_F_DATA_VALID, VNET_F_NEEDS_CSUM } from '../../../core/packet/vnet.js';
import { isIcmpv6ChecksumRight } from '../../../core/wire/icmpv6.js';
import { icmp6, Slots } from '../router/icmp-frames.js';
import { extension } from './build.js';
import type { VnetFields } from './parsed.js';

const SOURCE = 22;
const MESSAGE = 54;

function isRight(frame: Uint8Array, vnet: VnetFields = {}): boolean {
  const slots = new Slots();
  return isIcmpv6ChecksumRight(slots.view, slots.load(frame, vnet));
}

test('RFC 4443 2.3: right at every length, behind extension headers and before link padding as well', (t) => {
  for (const length of [0, 1, 2, 3, 55, 56, 87, 88, 89, 1232, 1400]) {
    const message = { type: 128, data: new Uint8Array(length).map((_, at) => at * 7) };
    const frame = icmp6(message);
    t.true(isRight(frame), `${length}`);
    t.true(isRight(icmp6(message, {}, 60, extension(58, 16))), `${length}, behind an extension header`);
    t.true(isRight(Uint8Array.of(...frame, 0xee, 0xee, 0xee)), `${length}, padded`);
  }
});

test('property: no single bit of message or addresses may differ', (t) => {
  const frames = fc.uint8Array({ maxLength: 200 }).map((data) => icmp6({ type: 135, data }));
  fc.assert(
    fc.property(frames, fc.nat(), (frame, chosen) => {
      const bits = (frame.length - MESSAGE + 32) * 8;
      const bit = chosen % bits;
      const wrong = frame.slice();
      wrong[(bit >> 3) + SOURCE] ^= 1 << (bit & 7);
      t.true(isRight(frame));
      t.false(isRight(wrong), `bit ${bit}`);
    }),
  );
});

test('what its sender left to us is right as it is; what another says to have looked at is looked at', (t) => {
  const wrong = icmp6({ type: 135 });
  wrong[MESSAGE + 2] ^= 1;
  t.false(isRight(wrong));
  t.true(isRight(wrong, { vnetFlags: VNET_F_NEEDS_CSUM, checksumStart: MESSAGE, checksumOffset: 2 }));
  t.false(isRight(wrong, { vnetFlags: VNET_F_DATA_VALID }));
});
