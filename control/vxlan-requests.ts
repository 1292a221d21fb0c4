/** What requests about overlays, about entries of the FDB that name a VTEP, and about neighbors that are told may say. */

import {
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

export const vtepEntryBody = mapping('a JSON object with mac, network and vtep', {
  mac: vtepMacField,
  network: nameField,
  vtep: poolAddressField,
  vlan: vlanField.optional(),
});

/** MAC of an entry that is to go, of whichever kind; `vtep` tells entries of the all-zero MAC apart. */
export const removedEntryKeys = { mac: vtepMacField, network: nameField, vtep: poolAddressField.optional() };

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

export const probeBody = mapping('a JSON object with network where wanted', { network: nameField.optional() });

export const neighborBody = mapping('a JSON object with network, address and mac', {
  network: nameField,
  address: addressField,
  mac: macField,
});

export const neighborQuery = mapping('a query', { network: nameField, address: addressField });
