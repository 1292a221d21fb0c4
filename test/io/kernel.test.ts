/** Versions of kernels, as distributions write them. */

import test from 'ava';
import { isAtLeast } from '../../io/kernel.js';

test('a version is compared number by number, whatever follows', (t) => {
  for (const text of ['6.2.0', '6.2', '6.10.1-amd64', '6.18.5', '7.0-rc1']) t.true(isAtLeast(text, 6, 2), text);
  for (const text of ['6.1.0-13-amd64', '5.15.0', '4.19', '6.1.99', '']) t.false(isAtLeast(text, 6, 2), text);
});
