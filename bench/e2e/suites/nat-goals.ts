/** What both directions of address translation are held to. */

const peers = ['kernel', 'c-relay', 'tapline'] as const;

export const ONE_STREAM = {
  name: 'tcp-1',
  title: 'TCP one stream',
  streams: 1,
  reference: 'kernel',
  bar: 0.85,
  aim: 1.0,
  peers,
} as const;

export const FOUR_STREAMS = {
  name: 'tcp-4',
  title: 'TCP four streams',
  streams: 4,
  reference: 'c-relay',
  bar: 0.9,
  aim: 1.0,
  peers,
} as const;

export const NEW_CONNECTIONS = { reference: 'kernel', bar: 1.1, aim: 1.4, peers } as const;

/** Shown beside the kernel's and held to nothing. */
export const SHOWN = { reference: 'kernel', bar: null, aim: null, peers } as const;
