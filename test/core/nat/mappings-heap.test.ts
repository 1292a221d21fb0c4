import test from 'ava';
import { kindOf } from '../../../core/nat/flow.js';
import { type MappingSettings, Mappings, type Tuples } from '../../../core/nat/mappings.js';
import { MAPPING_ADDRESS_AND_PORT_DEPENDENT } from '../../../core/nat/settings.js';
import { MAPPED } from '../../../core/router/address.js';
import { leavesNothing } from '../../support/heap.js';
import { INSIDE, OUTSIDE, REMOTE, SETTINGS, UDP, ZONE } from './mapping-lab.js';

/** Two in three ports are some flow's meanwhile, so that others than the wanted ones are searched for as well. */
const HELD = 43_008;

const nobody: Tuples = { isTaken4: () => false, findWords6: () => -1 };

/** Takes a port, and gives back the one taken HELD flows ago, again and again. */
class Load {
  private readonly mappings = new Mappings(5, 65_536);
  private readonly external: number;
  private readonly inside = Int32Array.of(0, 0, MAPPED, 0, 0, 0, 0, 0);
  private readonly outside = Int32Array.of(0, 0, 0, 0, 0, 0, MAPPED, REMOTE);
  private readonly ports = new Int32Array(HELD);
  private readonly kind = kindOf(ZONE, UDP, false);
  private at = 0;

  constructor(settings: Partial<MappingSettings>) {
    this.mappings.configure({ ...SETTINGS, ...settings });
    this.external = this.mappings.external(ZONE, 0, 0, MAPPED, OUTSIDE);
    this.ports.fill(-1);
  }

  /** @returns how many were refused */
  run(flows: number): number {
    const { mappings, external, inside, outside, ports, kind } = this;
    let refused = 0;
    for (let i = 0; i < flows; i++, this.at++) {
      const place = this.at % HELD;
      if (ports[place] >= 0) mappings.release(external, UDP, ports[place]);
      inside[3] = INSIDE + (this.at % 251);
      const port = 1024 + (Math.imul(this.at, 7919) & 0x7fff);
      ports[place] = mappings.take(external, UDP, inside, port, 1, outside, 53, nobody, kind);
      if (ports[place] < 0) refused++;
    }
    return refused;
  }
}

for (const [name, settings] of [
  ['endpoint-independent', {}],
  ['by address and port', { mapping: MAPPING_ADDRESS_AND_PORT_DEPENDENT }],
  ['in blocks', { portBlock: 256 }],
] as const) {
  test.serial(`a million flows leave nothing on the heap: ${name}`, (t) => {
    const load = new Load(settings);
    leavesNothing(t, load);
  });
}
