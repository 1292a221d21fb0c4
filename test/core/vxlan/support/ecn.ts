/** RFC 6040 as its tables print it; shares nothing with core/. */

export const NOT_ECT = 0;
export const ECT1 = 1;
export const ECT0 = 2;
export const CE = 3;
/** The packet is dropped. */
export const DROPPED = -1;

export const CODEPOINTS = [NOT_ECT, ECT1, ECT0, CE] as const;
export const CODEPOINT_NAMES = ['Not-ECT', 'ECT(1)', 'ECT(0)', 'CE'] as const;

/** Figure 3, normal mode: the outer field by the inner one. */
export function encapsulated(inner: number): number {
  return inner;
}

const DECAPSULATED: Readonly<Record<number, readonly number[]>> = {
  // Outer:    Not-ECT  ECT(1)   ECT(0)   CE
  [NOT_ECT]: [NOT_ECT, NOT_ECT, NOT_ECT, DROPPED],
  [ECT1]: [ECT1, ECT1, ECT1, CE],
  [ECT0]: [ECT0, ECT1, ECT0, CE],
  [CE]: [CE, CE, CE, CE],
};

/** Figure 4: the outgoing inner field by the arriving inner and outer ones. */
export function decapsulated(inner: number, outer: number): number {
  return DECAPSULATED[inner][outer];
}
