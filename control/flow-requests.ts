/** What requests about connections may say. */

import { addressBits, formatSubnet, parseAddress, parseCidr, subnetOf } from './config/address.js';
import { booleanField, integerField, mapping, nameField, oneOf, textField } from './config/fields.js';
import { protocolNumber, STATE_NAMES } from './flow-names.js';
import { flag, wholeNumber } from './query-fields.js';

/** Flows or mappings of one answer: a table that is full would be hundreds of megabytes of text. */
const MAX_LISTED = 100_000;
const DEFAULT_LISTED = 1000;

const PROTOCOL = 'a protocol: its name, such as tcp, or a number from 1 to 255';
const protocolField = textField(PROTOCOL, (text) =>
  protocolNumber(text) === null ? { expected: PROTOCOL } : { value: text },
);

const ADDRESS = 'an address or a prefix such as 10.0.0.0/8';

/** Any that a packet can have, also such as no endpoint may use. */
const addressOrPrefix = textField(ADDRESS, (text) => {
  const address = parseAddress(text);
  const cidr = address === null ? parseCidr(text) : { address, prefix: addressBits(address.family) };
  if (cidr === null) return { expected: ADDRESS };
  const subnet = subnetOf(cidr.address, cidr.prefix);
  if (subnet.base !== cidr.address.value) return { expected: `${formatSubnet(subnet)}, the prefix without host bits` };
  return { value: formatSubnet(subnet) };
});

const keys = {
  proto: protocolField.optional(),
  state: oneOf(STATE_NAMES).optional(),
  src: addressOrPrefix.optional(),
  dst: addressOrPrefix.optional(),
  endpoint: nameField.optional(),
  network: nameField.optional(),
  service: nameField.optional(),
};

const limit = wholeNumber(MAX_LISTED, 1).default(DEFAULT_LISTED);

export const flowQuery = mapping('a query', {
  ...keys,
  port: wholeNumber(65_535, 1).optional(),
  nat: flag.optional(),
  limit,
});

export const flushFlowsBody = mapping(
  'a JSON object with proto, state, src, dst, port, endpoint, network, service, nat, or all',
  {
    ...keys,
    port: integerField(1, 65_535).optional(),
    nat: booleanField.optional(),
    all: booleanField.optional(),
  },
);

export const limitQuery = mapping('a query', { limit });
