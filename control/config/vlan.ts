/** VLAN identifiers as the configuration writes them, single ones and ranges, and as lists of numbers. */

export const MIN_VLAN = 1;
/** 4095 is reserved (IEEE 802.1Q-2022 table 9-2). */
export const MAX_VLAN = 4094;

/** VLAN of untagged frames where nothing else is said (IEEE 802.1Q-2022 table 9-2). */
export const DEFAULT_VLAN = 1;

export interface VlanRange {
  readonly first: number;
  readonly last: number;
}

const EXPECTED = `expected an integer from ${MIN_VLAN} to ${MAX_VLAN}`;

/** Why a number is no VLAN, as the beginning of an error line; or null. */
export function vlanMistake(vlan: number): string | null {
  if (!Number.isInteger(vlan)) return EXPECTED;
  if (vlan === 0) return `VLAN out of range: 0 is a priority tag without a VLAN; ${EXPECTED}`;
  if (vlan === MAX_VLAN + 1) return `VLAN out of range: ${vlan} is reserved; ${EXPECTED}`;
  return vlan < MIN_VLAN || vlan > MAX_VLAN ? `VLAN out of range: ${EXPECTED}` : null;
}

/** `20-30` or `7`, whatever the numbers; or null. */
export function parseVlanRange(text: string): VlanRange | null {
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(text);
  if (match === null) return null;
  const first = Number(match[1]);
  return { first, last: match[2] === undefined ? first : Number(match[2]) };
}

/** A VLAN or range that has been validated before. Throws on any other. */
export function vlanRange(item: number | string): VlanRange {
  const range = parseVlanRange(String(item));
  if (range === null) throw new Error(`not a range of VLANs: ${item}`);
  return range;
}

/** All VLANs of validated items, ascending. */
export function expandVlans(items: readonly (number | string)[]): number[] {
  const vlans: number[] = [];
  for (const { first, last } of items.map(vlanRange)) for (let vlan = first; vlan <= last; vlan++) vlans.push(vlan);
  return vlans.sort((a, b) => a - b);
}

/** Every VLAN but one; what an uplink carries unless told otherwise. */
export function allVlansBut(excluded: number): number[] {
  return expandVlans([`${MIN_VLAN}-${MAX_VLAN}`]).filter((vlan) => vlan !== excluded);
}

/** Runs of consecutive numbers: [10, 11, 12, 30] as `10-12,30`. @param vlans ascending */
export function formatVlans(vlans: readonly number[]): string {
  const runs: VlanRange[] = [];
  for (const vlan of vlans) {
    const run = runs.at(-1);
    if (run?.last === vlan - 1) runs[runs.length - 1] = { first: run.first, last: vlan };
    else runs.push({ first: vlan, last: vlan });
  }
  return runs.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}
