/** Fields of query strings, which are text: numbers and flags are read out of it before the fields check them. */

import { z } from 'zod';
import { booleanField, integerField, vlanField } from './config/fields.js';

/** An integer from `min` to `max`. */
export function wholeNumber(max: number, min = 0) {
  return z.preprocess((text) => (/^\d+$/.test(String(text)) ? Number(text) : text), integerField(min, max));
}

export const vlanInText = z.preprocess((text) => (/^\d{1,9}$/.test(String(text)) ? Number(text) : text), vlanField);

export const flag = z.preprocess((text) => (text === 'true' ? true : text === 'false' ? false : text), booleanField);
