/** The kernel's own switch, as Docker builds it: a bridge, and a veth pair to each container, all offloads as they come. */

import type { Context } from '../context.js';
import { addNamespaces, configure, netnsName } from '../namespaces.js';
import { CLIENT_ADDRESS, PREFIX_LENGTH, SERVER_ADDRESS, type Site } from './peer.js';

export async function kernel(context: Context): Promise<Site> {
  const [client, server, middle] = ['client', 'server', 'bridge'].map((role) => netnsName('kernel', role)) as [
    string,
    string,
    string,
  ];
  await addNamespaces(context, [client, server, middle]);
  await configure(context, middle, ['link add br0 type bridge', 'link set br0 up']);
  await attach(context, middle, client, CLIENT_ADDRESS, 'veth0');
  await attach(context, middle, server, SERVER_ADDRESS, 'veth1');
  return {
    peer: 'kernel',
    client: { netns: client, address: CLIENT_ADDRESS },
    server: { netns: server, address: SERVER_ADDRESS },
    switchPid: null,
    engine: null,
  };
}

async function attach(context: Context, middle: string, netns: string, address: string, port: string): Promise<void> {
  await configure(context, middle, [
    `link add ${port} type veth peer name eth0 netns ${netns}`,
    `link set ${port} master br0`,
    `link set ${port} up`,
  ]);
  await configure(context, netns, [`address add ${address}/${PREFIX_LENGTH} dev eth0`, 'link set eth0 up']);
}
