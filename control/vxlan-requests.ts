/** What requests about overlays, about entries of the FDB that name a VTEP, and about neighbors that are told may say. */

import {
  ALL_MACS,
  addressField,
  booleanField,
  listOf,
  macField,
  mapping,
  nameField,
  oneOf,
  poolAddressField,
  vlanField,
  vtepMacField,
} from './config/fields.js';
import { vlanInText } from './query-fields.js';

const entryKeys = { mac: vtepMacField, network: nameField, vtep: poolAddressField };

export const vtepEntryBody = mapping('a JSON object with mac, network and vtep', {
  ...entryKeys,
  vlan: vlanField.optional(),
});

/** Without `vtep`, wherever the entry leads. */
export const vtepEntryQuery = mapping('a query', {
  ...entryKeys,
  vtep: poolAddressField.optional(),
  vlan: vlanInText.optional(),
});

/** Whether a request names a VTEP; its other keys are not looked at. */
export function namesVtep(input: unknown): boolean {
  return typeof input === 'object' && input !== null && 'vtep' in input;
}

/** Whether a query is of an entry that only VTEPs have. */
export function isOfVteps(query: unknown): boolean {
  return namesVtep(query) || (query as { mac?: unknown }).mac === ALL_MACS;
}

/** Changes of one network's entries, in the order in which they are made. */
export const entryChanges = listOf(
  'changes with op, mac and vtep',
  mapping('a change: a mapping with op, mac and vtep', {
    op: oneOf(['add', 'remove']),
    mac: vtepMacField,
    vtep: poolAddressField,
    vlan: vlanField.optional(),
  }),
);

/** Bytes of a request with 100,000 changes. */
export const MAX_CHANGES_BYTES = 16 * 1024 * 1024;

export const vtepBody = mapping('a JSON object with address', {
  address: poolAddressField,
  floods: booleanField.default(true),
});

export const vtepParams = mapping('the address of a VTEP', { address: addressField });

export const probeBody = mapping('a JSON object with network where wanted', { network: nameField.optional() });

export const neighborBody = mapping('a JSON object with network, address and mac', {
  network: nameField,
  address: addressField,
  mac: macField,
});

export const neighborQuery = mapping('a query', { network: nameField, address: addressField });
