/**
 * Published ports for the host's own processes: sockets that hold the ports on the host, and lead what its own processes send there
 * into the router's end of the host port. Others are turned away: their packets come by the uplink, with their own address.
 */

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';

export interface RelayRequest {
  readonly protocol: 'tcp' | 'udp';
  /** Of the host; 0.0.0.0 and :: for all of a family. */
  readonly address: string;
  readonly port: number;
  /** Where it leads at the moment; null: nowhere. */
  target(): RelayTarget | null;
}

export interface RelayTarget {
  readonly address: string;
  readonly port: number;
  /** The host's own address on the way there. */
  readonly from: string;
}

export interface Relay {
  /** Gives the port back; what goes through it ends. */
  close(): Promise<void>;
}

/** Clients of one UDP port at once; the one that was silent the longest makes room. */
const MAX_UDP_CLIENTS = 512;
/** After which a silent client is forgotten. RFC 4787 REQ-5 asks for two minutes of a mapping, and recommends five. */
const UDP_IDLE_MS = 300_000;
/** How long the list of the host's addresses is good. */
const ADDRESSES_MS = 1000;

/** @throws NodeJS.ErrnoException: EADDRINUSE where somebody holds the port, EADDRNOTAVAIL, EAFNOSUPPORT without IPv6 */
export function openRelay(request: RelayRequest): Promise<Relay> {
  return request.protocol === 'tcp' ? openTcp(request) : openUdp(request);
}

let ownAddresses: ReadonlySet<string> = new Set();
let ownAddressesUntil = 0;

function hostAddresses(): ReadonlySet<string> {
  const now = Date.now();
  if (now < ownAddressesUntil) return ownAddresses;
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  ownAddresses = new Set(all.map(({ address }) => address));
  ownAddressesUntil = now + ADDRESSES_MS;
  return ownAddresses;
}

/** Whether a peer is a process of this host: it speaks from an address that is the host's. */
export function isOwnPeer(address: string | undefined): boolean {
  if (address === undefined) return false;
  const bare = address.split('%', 1)[0] ?? address;
  return bare.startsWith('127.') || bare === '::1' || hostAddresses().has(bare);
}

function openTcp({ address, port, target }: RelayRequest): Promise<Relay> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    clients.add(client);
    client.once('close', () => clients.delete(client));
    const to = isOwnPeer(client.remoteAddress) ? target() : null;
    if (to === null) client.resetAndDestroy();
    else splice(client, to);
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const client of clients) client.resetAndDestroy();
    });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port, ipv6Only: address.includes(':'), exclusive: true }, () => {
      server.off('error', reject);
      // What a server reports later (no descriptors left, say) concerns one connection; it goes on.
      server.on('error', () => {});
      resolve({ close });
    });
  });
}

/** Both directions, each ended by itself; a failure of one side ends the other by a reset, as it would without us between. */
function splice(client: Socket, { address, port, from }: RelayTarget): void {
  const inner = connectTcp({ host: address, port, localAddress: from, allowHalfOpen: true, noDelay: true });
  client.setNoDelay(true);
  const fail = (): void => {
    client.resetAndDestroy();
    inner.resetAndDestroy();
  };
  client.on('error', fail);
  inner.on('error', fail);
  client.once('close', () => inner.destroy());
  inner.once('close', () => client.destroy());
  inner.once('connect', () => {
    client.pipe(inner);
    inner.pipe(client);
  });
}

interface UdpClient {
  readonly socket: UdpSocket;
  /** Datagrams from before it is connected; null: it is. */
  waiting: Buffer[] | null;
  lastMs: number;
}

/** Datagrams that wait while a client's socket is connected, which takes no round trip. */
const MAX_WAITING = 64;

class UdpRelay implements Relay {
  readonly #outer: UdpSocket;
  readonly #target: RelayRequest['target'];
  /** By address and port; the one that spoke last is last. */
  readonly #clients = new Map<string, UdpClient>();
  readonly #sweep: NodeJS.Timeout;

  constructor(outer: UdpSocket, target: RelayRequest['target']) {
    this.#outer = outer;
    this.#target = target;
    outer.on('message', (data, peer) => this.#fromClient(data, peer));
    outer.on('error', () => {});
    this.#sweep = setInterval(() => this.#forgetSilent(), UDP_IDLE_MS / 4);
    this.#sweep.unref();
  }

  #fromClient(data: Buffer, peer: RemoteInfo): void {
    if (!isOwnPeer(peer.address)) return;
    const key = `${peer.address} ${peer.port}`;
    const client = this.#clients.get(key) ?? this.#open(peer, key);
    if (client === null) return;
    client.lastMs = Date.now();
    this.#clients.delete(key);
    this.#clients.set(key, client);
    if (client.waiting === null) client.socket.send(data);
    else if (client.waiting.length < MAX_WAITING) client.waiting.push(data);
  }

  #open(peer: RemoteInfo, key: string): UdpClient | null {
    const to = this.#target();
    if (to === null) return null;
    const [oldest] = this.#clients.keys();
    if (this.#clients.size >= MAX_UDP_CLIENTS && oldest !== undefined) this.#end(oldest);
    const socket = createSocket('udp4');
    // Refused (ECONNREFUSED) or unreachable: as with any datagram, the sender hears nothing. Before it is connected: it never will be.
    socket.on('error', () => {
      if (client.waiting !== null) this.#forget(key, client);
    });
    socket.on('message', (data) => this.#outer.send(data, peer.port, peer.address));
    const client: UdpClient = { socket, waiting: [], lastMs: Date.now() };
    // Without a way there (ENETUNREACH: the host port is being made anew) the client begins again with its next datagram.
    const connected = (error?: Error): void => {
      if (error !== undefined) {
        this.#forget(key, client);
        return;
      }
      const waiting = client.waiting ?? [];
      client.waiting = null;
      for (const data of waiting) socket.send(data);
    };
    socket.bind({ address: to.from, exclusive: true }, () => socket.connect(to.port, to.address, connected));
    this.#clients.set(key, client);
    return client;
  }

  #end(key: string): void {
    const client = this.#clients.get(key);
    if (client !== undefined) this.#forget(key, client);
  }

  #forget(key: string, client: UdpClient): void {
    // It may have made room for another meanwhile.
    if (this.#clients.get(key) !== client) return;
    this.#clients.delete(key);
    client.socket.close();
  }

  #forgetSilent(): void {
    const before = Date.now() - UDP_IDLE_MS;
    for (const [key, { lastMs }] of this.#clients) if (lastMs < before) this.#end(key);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep);
    for (const key of [...this.#clients.keys()]) this.#end(key);
    await new Promise<void>((resolve) => {
      this.#outer.close(() => resolve());
    });
  }
}

function openUdp({ address, port, target }: RelayRequest): Promise<Relay> {
  const isSix = address.includes(':');
  const socket = createSocket({ type: isSix ? 'udp6' : 'udp4', ipv6Only: isSix });
  return new Promise((resolve, reject) => {
    const refused = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', refused);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', refused);
      resolve(new UdpRelay(socket, target));
    });
  });
}
