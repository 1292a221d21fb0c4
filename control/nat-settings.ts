/** The `nat` section of a configuration in the numbers that the dataplane takes. */

import {
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FIN,
  STATE_ICMP_REPLIED,
  STATE_ICMP_UNREPLIED,
  STATE_OTHER_REPLIED,
  STATE_OTHER_UNREPLIED,
  STATE_RESET,
  STATE_SCTP_ESTABLISHED,
  STATE_SCTP_OPENING,
  STATE_SYN_RECEIVED,
  STATE_SYN_SENT,
  STATE_UDP_STREAM,
  STATE_UDP_UNREPLIED,
} from '../core/nat/flow.js';
import { DEFAULT_TIMEOUTS } from '../core/nat/flow-table.js';
import {
  ALG_FTP,
  ALG_TFTP,
  FILTERING_ADDRESS_AND_PORT_DEPENDENT,
  FILTERING_ADDRESS_DEPENDENT,
  FILTERING_ENDPOINT_INDEPENDENT,
  MAPPING_ADDRESS_AND_PORT_DEPENDENT,
  MAPPING_ENDPOINT_INDEPENDENT,
} from '../core/nat/settings.js';
import { parsePortRange } from './config/fields.js';
import type { NatConfig, UplinkConfig } from './config/schema.js';
import type { WorkerNatSettings } from './worker-protocol.js';

const MAPPINGS = {
  endpoint_independent: MAPPING_ENDPOINT_INDEPENDENT,
  address_and_port_dependent: MAPPING_ADDRESS_AND_PORT_DEPENDENT,
};
const FILTERINGS = {
  endpoint_independent: FILTERING_ENDPOINT_INDEPENDENT,
  address_dependent: FILTERING_ADDRESS_DEPENDENT,
  address_and_port_dependent: FILTERING_ADDRESS_AND_PORT_DEPENDENT,
};
const ALGS = { ftp: ALG_FTP, tftp: ALG_TFTP };

/**
 * Ports of an uplink's own address: all, so that a well-known one stays one (RFC 4787, REQ-3); what is not, never becomes one. And of an
 * address that is the host's as well: that has others of its own.
 */
const OWN_PORTS = { first: 1, last: 65_535 };
const SHARED_PORTS = { first: 49_152, last: 65_535 };

/** States whose timeout a key of `nat.timeouts` sets. */
const STATES_OF: Readonly<Record<keyof NatConfig['timeouts'], readonly number[]>> = {
  tcp_syn: [STATE_SYN_SENT, STATE_SYN_RECEIVED],
  tcp_established: [STATE_ESTABLISHED],
  tcp_fin: [STATE_FIN],
  tcp_closing: [STATE_CLOSING],
  tcp_reset: [STATE_RESET],
  udp: [STATE_UDP_UNREPLIED],
  udp_stream: [STATE_UDP_STREAM],
  icmp: [STATE_ICMP_UNREPLIED, STATE_ICMP_REPLIED],
  sctp_opening: [STATE_SCTP_OPENING],
  sctp_established: [STATE_SCTP_ESTABLISHED],
  other: [STATE_OTHER_UNREPLIED, STATE_OTHER_REPLIED],
};

/** The ports that translated connections leave from. */
export function natPorts(nat: NatConfig, uplink: UplinkConfig | null): { first: number; last: number } {
  const given = nat.ports === undefined ? null : parsePortRange(nat.ports);
  return given ?? (uplink?.mode === 'shared' ? SHARED_PORTS : OWN_PORTS);
}

export function natSettings(nat: NatConfig, uplink: UplinkConfig | null): WorkerNatSettings {
  const { first, last } = natPorts(nat, uplink);
  const timeouts = DEFAULT_TIMEOUTS.slice();
  for (const [key, states] of Object.entries(STATES_OF)) {
    const seconds = nat.timeouts[key as keyof NatConfig['timeouts']];
    for (const state of states) timeouts[state] = seconds;
  }
  return {
    mapping: MAPPINGS[nat.mapping],
    filtering: FILTERINGS[nat.filtering],
    firstPort: first,
    lastPort: last,
    portBlock: nat.port_block,
    flowsPerEndpoint: nat.flows_per_endpoint,
    timeouts,
    algs: nat.alg.reduce((mask, name) => mask | ALGS[name], 0),
  };
}
