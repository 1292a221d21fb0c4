/** A daemon over doubles with an uplink, and a network that spans hosts. */

import type { ExecutionContext } from 'ava';
import { TaplineError } from '../../../control/errors.js';
import type { KeptState } from '../../../control/kept-state.js';
import type { Numbers } from '../../../control/numbers.js';
import type { PortSpec } from '../../../control/types.js';
import { config, type Fixture, makeFixture } from '../support/fixture.js';

export interface LabOptions {
  readonly mode?: 'own' | 'shared';
  /** Keys of `vxlan` besides VNI and local address, in YAML's flow style. */
  readonly vxlan?: string;
  /** Keys of the network, likewise. */
  readonly network?: string;
  readonly kept?: KeptState;
  readonly numbers?: Numbers;
  /** Before the daemon has its configuration. */
  readonly prepare?: (fixture: Fixture) => void;
}

/** Overlays are VNI 42 of 10.77.0.1; endpoints `a` to `c` may be connected. */
export function overlayFile({ mode = 'own', vxlan = 'remotes: [10.77.0.2]', network = '' }: LabOptions): string {
  const uplink =
    mode === 'own'
      ? '{ device: up0, mode: own, addresses: [10.77.0.1/24], gateway: 10.77.0.254 }'
      : '{ device: up0, mode: shared }';
  const keys = network === '' ? '' : `, ${network}`;
  return `version: 1
uplink: ${uplink}
networks:
  blue: { subnets: [172.30.0.0/24], vxlan: { vni: 42, local: 10.77.0.1, ${vxlan} }${keys} }
  red: { subnets: [172.31.0.0/24] }
`;
}

export interface OverlayLab extends Fixture {
  /** The dataplane's number of network blue. */
  readonly blue: number;
  /** VTEPs of blue that have a port, and whether they get what is flooded. */
  readonly vteps: () => Record<string, boolean>;
  readonly port: (address: string) => number;
  /** Static entries: MAC to name of the port. */
  readonly statics: () => Record<string, string>;
}

export async function makeLab(t: ExecutionContext, options: LabOptions = {}): Promise<OverlayLab> {
  const fixture = makeFixture(options.kept, options.numbers);
  const { daemon, dataplane, system } = fixture;
  t.teardown(() => daemon.stop());
  for (const name of ['a', 'b', 'c']) system.addNamespace(`/ns/${name}`);
  system.devices.add('up0');
  if (options.mode === 'shared')
    system.hosts.set('up0', { addresses: ['10.77.0.1/24'], linkLocal: null, defaults: [], routes: [] });
  options.prepare?.(fixture);
  await daemon.apply(config(overlayFile(options)));
  return {
    ...fixture,
    blue: daemon.network('blue').id,
    vteps: () => vtepsOf(fixture),
    port: (address) => dataplane.portNamed(`vxlan:blue:${address}`),
    statics: () =>
      Object.fromEntries(
        dataplane.fdbEntries
          .filter((entry) => entry.static)
          .map(({ mac, port }) => [mac, dataplane.portName(port) ?? '']),
      ),
  };
}

/** All VTEPs that are ports, and whether they get what is flooded. */
export function vtepsOf({ dataplane }: Fixture): Record<string, boolean> {
  const vteps = [...dataplane.livePorts].flatMap(([number, spec]: [number, PortSpec]): [string, boolean][] =>
    spec.vtep === undefined ? [] : [[spec.vtep.address, dataplane.vxlan.floods.get(number) ?? spec.vtep.floods]],
  );
  return Object.fromEntries(vteps);
}

/** The line of the error, with its kind. */
export async function refused(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof TaplineError) return `${error.kind} ${error.message}`;
    throw error;
  }
  return 'accepted';
}
