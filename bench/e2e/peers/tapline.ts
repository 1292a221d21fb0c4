/** Tapline as users run it: `tapline up` with a configuration file, endpoints by namespace path. */

import type { Context, PeerName } from '../context.js';
import { addNamespaces, netnsName } from '../namespaces.js';
import { oneNetwork, startTapline } from './instance.js';
import { CLIENT_ADDRESS, SERVER_ADDRESS, type Site, SUBNET } from './peer.js';

/** As users run it: with the guards that are on by default. */
export function tapline(context: Context): Promise<Site> {
  return pair(context, 'tapline', {}, {});
}

/** Every guard of the bridge off. */
export function taplineOpen(context: Context): Promise<Site> {
  const network = {
    storm_control: { broadcast: 'off', multicast: 'off', unknown_unicast: 'off' },
    loop_protection: { enabled: false },
    multicast: { snooping: false },
  };
  return pair(context, 'tapline-open', network, { security: 'off' });
}

/** Every guard on: besides the default ones, VLANs, an isolation group and a limit for multicast. */
export function taplineGuarded(context: Context): Promise<Site> {
  const network = { vlan_filtering: true, isolated: true, fdb_full: 'drop', storm_control: { multicast: 10_000 } };
  return pair(context, 'tapline-guarded', network, { vlan: 10, isolation_group: 'pair' });
}

/** Two hosts on one network. @param network keys of the network, @param endpoint keys of each endpoint */
async function pair(context: Context, peer: PeerName, network: object, endpoint: object): Promise<Site> {
  const client = { netns: netnsName(peer, 'client'), address: CLIENT_ADDRESS };
  const server = { netns: netnsName(peer, 'server'), address: SERVER_ADDRESS };
  await addNamespaces(context, [client.netns, server.netns]);
  const { pid, engine } = await startTapline(context, peer, oneNetwork(SUBNET, [client, server], network, endpoint));
  return { peer, client, server, switchPid: pid, engine };
}
