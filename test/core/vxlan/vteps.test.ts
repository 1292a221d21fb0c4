/** The table of VTEPs beside one that looks through everything; and what it costs to fill it. */

import test from 'ava';
import fc from 'fast-check';
import { Network } from '../../../core/ports.js';
import { LocalVtep, RemoteVtep } from '../../../core/vxlan/vtep.js';
import { Vteps } from '../../../core/vxlan/vteps.js';
import { rerunLine, seedOfRun } from '../../support/corpus.js';
import { LOCAL } from './overlay-lab.js';
import { wordsOf } from './support/lab.js';

const VNI_CHOICE = [1, 2, 0xffffff];
const UDP_PORTS = [4789, 8472];
const VRFS = [1, 2];
const OWN = ['10.77.0.1', '10.77.0.2', 'fd77::1', '::ffff:0:10.77.0.1'];
const REMOTE = ['10.77.0.9', '239.1.1.1', '239.1.1.2', 'fd77::9', 'ff15::1', 'ff15::1:0:0'];

function words(address: string): Int32Array {
  // An IPv6 address whose last word is that of an IPv4 one.
  return address.startsWith('::ffff:0:') ? Int32Array.of(0, 0xffff, 0, wordsOf('10.77.0.1')[3]) : wordsOf(address);
}

function localOf(number: number, vni: number, udpPort: number, address: Int32Array, vrf: number): LocalVtep {
  return new LocalVtep(new Network(number, 300, 1024), { ...LOCAL, vni, udpPort, vrf, local: address });
}

/** All of it as lists. */
class Reference {
  locals: LocalVtep[] = [];
  remotes: RemoteVtep[] = [];

  local(vni: number, udpPort: number): LocalVtep | null {
    return this.locals.find((one) => one.vni === vni && one.udpPort === udpPort) ?? null;
  }

  find(vni: number, udpPort: number, address: Int32Array): RemoteVtep | null {
    const text = address.join();
    const { remotes } = this;
    return (
      remotes.find(
        ({ local, a, b, c, d }) =>
          local.vni === vni && local.udpPort === udpPort && Int32Array.of(a, b, c, d).join() === text,
      ) ?? null
    );
  }

  isListening(vrf: number, udpPort: number, address: Int32Array): boolean {
    const text = address.join();
    const isThere = ({ udpPort: port, options }: LocalVtep): boolean => port === udpPort && options.vrf === vrf;
    if (this.locals.some((local) => isThere(local) && local.options.local.join() === text)) return true;
    return this.remotes.some(
      ({ isGroup, local, a, b, c, d }) => isGroup && isThere(local) && Int32Array.of(a, b, c, d).join() === text,
    );
  }
}

type Step =
  | {
      readonly op: 'own';
      readonly vni: number;
      readonly udpPort: number;
      readonly address: string;
      readonly vrf: number;
    }
  | { readonly op: 'remote'; readonly of: number; readonly address: string }
  | { readonly op: 'loseOwn' | 'loseRemote'; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    op: fc.constant('own' as const),
    vni: fc.constantFrom(...VNI_CHOICE),
    udpPort: fc.constantFrom(...UDP_PORTS),
    address: fc.constantFrom(...OWN),
    vrf: fc.constantFrom(...VRFS),
  }),
  fc.record({ op: fc.constant('remote' as const), of: fc.nat(5), address: fc.constantFrom(...REMOTE) }),
  fc.record({ op: fc.constantFrom('loseOwn' as const, 'loseRemote' as const), which: fc.nat(11) }),
);

class Scene {
  readonly vteps = new Vteps(0x5eed);
  readonly reference = new Reference();
  private number = 0;

  take(step: Step): void {
    const { vteps, reference } = this;
    if (step.op === 'own') this.addOwn(step.vni, step.udpPort, words(step.address), step.vrf);
    else if (step.op === 'remote') this.addRemote(reference.locals[step.of % reference.locals.length], step.address);
    else if (step.op === 'loseOwn') this.loseOwn(reference.locals[step.which % reference.locals.length]);
    else {
      const remote = reference.remotes[step.which % reference.remotes.length];
      if (remote === undefined) return;
      vteps.remove(remote);
      reference.remotes = reference.remotes.filter((other) => other !== remote);
    }
  }

  private addOwn(vni: number, udpPort: number, address: Int32Array, vrf: number): void {
    if (this.reference.local(vni, udpPort) !== null) return;
    const local = localOf(++this.number, vni, udpPort, address, vrf);
    this.vteps.addLocal(local);
    this.reference.locals.push(local);
  }

  private addRemote(local: LocalVtep | undefined, address: string): void {
    if (local === undefined || this.reference.find(local.vni, local.udpPort, words(address)) !== null) return;
    const remote = new RemoteVtep(++this.number, local, { address: words(address), floods: true });
    this.vteps.add(remote);
    this.reference.remotes.push(remote);
  }

  /** With all that it has, as who removes it must. */
  private loseOwn(local: LocalVtep | undefined): void {
    if (local === undefined) return;
    const { vteps, reference } = this;
    for (const remote of reference.remotes) if (remote.local === local) vteps.remove(remote);
    reference.remotes = reference.remotes.filter((remote) => remote.local !== local);
    vteps.removeLocal(local);
    reference.locals = reference.locals.filter((other) => other !== local);
  }

  /** What the two say differently. */
  differences(): string[] {
    const { vteps, reference } = this;
    const found: string[] = [];
    for (const udpPort of UDP_PORTS) {
      for (const vni of VNI_CHOICE) {
        if (vteps.local(vni, udpPort) !== reference.local(vni, udpPort)) found.push(`local ${vni} ${udpPort}`);
        for (const address of REMOTE) {
          const [a, b, c, d] = words(address);
          if (vteps.find(vni, udpPort, a, b, c, d) !== reference.find(vni, udpPort, words(address)))
            found.push(`find ${vni} ${udpPort} ${address}`);
        }
      }
      for (const vrf of VRFS) {
        for (const address of [...OWN, ...REMOTE]) {
          const [a, b, c, d] = words(address);
          if (vteps.isListening(vrf, udpPort, a, b, c, d) !== reference.isListening(vrf, udpPort, words(address)))
            found.push(`isListening ${vrf} ${udpPort} ${address}`);
        }
      }
    }
    if (vteps.own.length !== reference.locals.length) found.push('own');
    return found;
  }
}

const seed = seedOfRun();
const rerun = rerunLine(seed, 'dist/test/core/vxlan/vteps.test.js');

test('whatever comes and goes, the table says what lists say', (t) => {
  let listening = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const scene = new Scene();
      for (const each of steps) {
        scene.take(each);
        const differences = scene.differences();
        if (differences.length > 0) throw new Error(`${differences.join()}; ${rerun}`);
      }
      listening += scene.reference.remotes.filter(({ isGroup }) => isGroup).length;
    }),
    { seed, numRuns: 200 },
  );
  t.true(listening > 0, rerun);
});

const MANY = 2000;
/** More than adding one to the table asks of it, and far less than looking through the others would. */
const MOST_LOOKS = 40;

/** Counts how often anything that the table could look for is read of an own VTEP. */
function watched(local: LocalVtep, look: () => void): LocalVtep {
  for (const name of ['vni', 'udpPort', 'options'] as const) {
    const value = local[name];
    Object.defineProperty(local, name, {
      get: () => {
        look();
        return value;
      },
    });
  }
  return local;
}

test(`${MANY} own VTEPs, each with a remote one and a group: adding one costs the same however many there are`, (t) => {
  const address = wordsOf('10.77.0.1');
  for (const [name, udpPortOf] of [
    ['at one UDP port', () => 4789],
    ['each at its own', (i: number) => 10_000 + i],
  ] as const) {
    const vteps = new Vteps(0x5eed);
    let looks = 0;
    for (let i = 0; i < MANY; i++) {
      const local = watched(localOf(i + 1, i + 1, udpPortOf(i), address, 1), () => looks++);
      t.is(vteps.local(i + 1, udpPortOf(i)), null);
      vteps.addLocal(local);
      vteps.add(new RemoteVtep(2 * i + 1, local, { address: wordsOf('10.77.0.9'), floods: true }));
      vteps.add(new RemoteVtep(2 * i + 2, local, { address: wordsOf('239.1.1.1'), floods: true }));
    }
    t.true(looks >= MANY, 'it is counted');
    t.true(looks <= MOST_LOOKS * MANY, `${name}: ${looks / MANY} looks each`);
    const [a, b, c, d] = address;
    t.true(vteps.isListening(1, udpPortOf(MANY - 1), a, b, c, d));
    t.is(vteps.local(MANY, udpPortOf(MANY - 1))?.vni, MANY);
  }
});
