import test from 'ava';
import fc from 'fast-check';
import { endpointSchema } from '../../../control/config/schema.js';
import { addStatic, removeEntry } from '../../../control/fdb.js';
import { applyEntries, type VtepEntryChange } from '../../../control/vxlan/entries.js';
import { makeLab, type OverlayLab, refused } from './lab.js';

const ALL = '00:00:00:00:00:00';
const MAC = '02:00:00:00:00:99';

const mac = (number: number): string =>
  `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`;
const vtep = (number: number): string => `10.77.0.${number}`;
const portOf = (address: string): string => `vxlan:blue:${address}`;

function connect({ daemon }: OverlayLab, name: string, more: object = {}): Promise<unknown> {
  return daemon.connect(name, endpointSchema.parse({ network: 'blue', netns: `/ns/${name}`, ...more }));
}

test('an entry makes its VTEP, moves between VTEPs, and takes the last one’s along', async (t) => {
  const lab = await makeLab(t, { vxlan: 'remotes: []' });
  const { daemon } = lab;
  const entry = { mac: MAC, network: 'blue' };
  t.deepEqual(await addStatic(daemon, { ...entry, vtep: vtep(3) }), {
    mac: MAC,
    network: 'blue',
    port: portOf(vtep(3)),
    vlan: null,
    vtep: vtep(3),
  });
  t.deepEqual(lab.vteps(), { [vtep(3)]: false });
  await addStatic(daemon, { ...entry, vtep: vtep(3) });
  await addStatic(daemon, { ...entry, vtep: vtep(4) });
  t.deepEqual(lab.vteps(), { [vtep(4)]: false }, 'nothing leads to the other any more');
  t.deepEqual(lab.statics(), { [MAC]: portOf(vtep(4)) });
  t.is(
    await refused(removeEntry(daemon, { ...entry, vtep: vtep(3) })),
    `missing no entry of ${MAC} that leads to VTEP ${vtep(3)} in network blue; it leads to VTEP ${vtep(4)}`,
  );
  await removeEntry(daemon, entry);
  t.is(await refused(removeEntry(daemon, entry)), `missing no entry of ${MAC} in network blue`);
  t.deepEqual([lab.vteps(), lab.statics()], [{}, {}]);
});

test('all-zero entries are the flood list, one for each VTEP', async (t) => {
  const lab = await makeLab(t, { vxlan: 'remotes: [10.77.0.2]' });
  const { daemon } = lab;
  const entry = { mac: ALL, network: 'blue' };
  await addStatic(daemon, { mac: MAC, network: 'blue', vtep: vtep(3) });
  for (const number of [3, 4]) await addStatic(daemon, { ...entry, vtep: vtep(number) });
  t.deepEqual(lab.vteps(), { [vtep(2)]: true, [vtep(3)]: true, [vtep(4)]: true });
  t.is(
    await refused(removeEntry(daemon, entry)),
    `invalid vtep: there may be several entries of ${ALL}; say which VTEP`,
  );
  for (const number of [3, 4]) await removeEntry(daemon, { ...entry, vtep: vtep(number) });
  t.deepEqual(lab.vteps(), { [vtep(2)]: true, [vtep(3)]: false }, 'an entry still leads to one of them');
  t.is(
    await refused(removeEntry(daemon, { ...entry, vtep: vtep(4) })),
    `missing no entry of ${ALL} that leads to VTEP ${vtep(4)} in network blue`,
  );
  t.is(
    await refused(removeEntry(daemon, { ...entry, vtep: vtep(2) })),
    `missing no entry of ${ALL} that leads to VTEP ${vtep(2)} in network blue`,
    'it is on the list as a remote one, not by an entry',
  );
});

test('what is asked for may be wrong', async (t) => {
  const lab = await makeLab(t);
  const { daemon } = lab;
  await connect(lab, 'a', { mac: '02:00:00:00:00:aa' });
  const add = (request: object): Promise<string> =>
    refused(addStatic(daemon, { mac: MAC, network: 'blue', vtep: vtep(3), ...request }));
  t.is(await add({ network: 'red' }), 'conflict network: network red has no vxlan: it is on this host alone');
  t.is(await add({ network: 'none' }), 'missing no network none');
  t.is(await add({ vtep: '10.77.0.1' }), 'invalid vtep: 10.77.0.1 is the address of the VTEP itself');
  t.is(
    await add({ vtep: 'fd00::1' }),
    'invalid vtep: expected an address of the family of local 10.77.0.1, got fd00::1',
  );
  t.is(await add({ vlan: 7 }), 'invalid vlan: network blue tells no VLANs apart; leave it out');
  t.is(await add({ mac: '02:00:00:00:00:aa' }), 'conflict mac: 02:00:00:00:00:aa is already the MAC of endpoint a');
  t.regex(await add({ mac: '02:42:ac:1e:00:01' }), /^conflict mac: .* is the MAC of the gateway of network blue$/);
  t.deepEqual([lab.vteps(), lab.statics()], [{ [vtep(2)]: true }, {}]);
});

test('with VLANs an entry is in the one that the tunnel carries', async (t) => {
  const { daemon, dataplane } = await makeLab(t, { vxlan: 'vlan: 10', network: 'vlan_filtering: true' });
  const entry = { mac: MAC, network: 'blue', vtep: vtep(3) };
  t.is(
    await refused(addStatic(daemon, { ...entry, vlan: 20 })),
    'invalid vlan: expected 10, the VLAN that the overlay of network blue carries, got 20',
  );
  t.like(await addStatic(daemon, { ...entry, vlan: 10 }), { vlan: 10 });
  t.like(
    dataplane.fdbEntries.find((one) => one.mac === MAC),
    { vlan: 10 },
  );
});

test('a MAC moves between a port of this host and a VTEP, and stays where it was when that fails', async (t) => {
  const lab = await makeLab(t);
  const { daemon, dataplane } = lab;
  await connect(lab, 'a', { security: 'off' });
  const here = { mac: MAC, network: 'blue', port: 'a' };
  const there = { mac: MAC, network: 'blue', vtep: vtep(3) };
  await addStatic(daemon, here);
  await addStatic(daemon, there);
  t.deepEqual(lab.statics()[MAC], portOf(vtep(3)));
  await addStatic(daemon, here);
  t.deepEqual([lab.statics()[MAC], lab.vteps()], ['a', { [vtep(2)]: true }]);
  dataplane.failing.add(`changeStatics ${MAC}`);
  await t.throwsAsync(addStatic(daemon, there));
  dataplane.failing.clear();
  t.is(lab.statics()[MAC], 'a');
  await addStatic(daemon, there);
  t.is(await refused(addStatic(daemon, { ...here, port: 'none' })), 'missing port: no endpoint none');
  t.is(lab.statics()[MAC], portOf(vtep(3)));
  t.regex(await refused(connect(lab, 'b', { mac: MAC })), /bound to port vtep 10\.77\.0\.3 by a static entry/);
});

test('many at once are one change; whatever fails, all is as before', async (t) => {
  const lab = await makeLab(t);
  const { daemon, dataplane } = lab;
  const changes = Array.from({ length: 10_000 }, (_, index): VtepEntryChange => {
    return { op: 'add', mac: mac(index), vtep: vtep(3 + (index % 50)) };
  });
  const began = performance.now();
  t.deepEqual(await applyEntries(daemon, 'blue', changes), {
    added: 10_000,
    moved: 0,
    removed: 0,
    unchanged: 0,
    missing: 0,
  });
  t.true(performance.now() - began < 20_000);
  t.is(dataplane.staticChanges.length, 1);
  t.is(Object.keys(lab.statics()).length, 10_000);
  t.is(Object.keys(lab.vteps()).length, 51);
  const before = [lab.statics(), lab.vteps()];
  const failing = [
    { op: 'remove', mac: mac(0), vtep: vtep(3) },
    { op: 'add', mac: mac(1), vtep: vtep(99) },
    { op: 'add', mac: MAC, vtep: vtep(98) },
  ] as const;
  dataplane.failing.add('addPort vxlan:blue:10.77.0.98');
  await t.throwsAsync(applyEntries(daemon, 'blue', failing));
  t.deepEqual([lab.statics(), lab.vteps()], before, 'a port is refused');
  dataplane.failing.clear();
  const wrong = [...failing, { op: 'add', mac: mac(3), vtep: '10.77.0.1' } as const];
  t.is(
    await refused(applyEntries(daemon, 'blue', wrong)),
    'invalid [3].vtep: 10.77.0.1 is the address of the VTEP itself',
  );
  const early = wrong.with(0, { op: 'add', mac: mac(0), vtep: vtep(60), vlan: 9 } as never);
  t.is(
    await refused(applyEntries(daemon, 'blue', early)),
    'invalid [0].vlan: network blue tells no VLANs apart; leave it out',
  );
  t.deepEqual([lab.statics(), lab.vteps()], before, 'a mistake further on');
  t.is(dataplane.staticChanges.length, 1 + 1, 'the one that was taken back');
});

test('changes that say twice, or late, what is so do no harm, and are counted', async (t) => {
  const lab = await makeLab(t, { vxlan: 'remotes: []' });
  const counts = await applyEntries(lab.daemon, 'blue', [
    { op: 'add', mac: MAC, vtep: vtep(3) },
    { op: 'add', mac: MAC, vtep: vtep(3) },
    { op: 'add', mac: MAC, vtep: vtep(4) },
    { op: 'remove', mac: MAC, vtep: vtep(3) },
    { op: 'remove', mac: mac(1), vtep: vtep(3) },
    { op: 'add', mac: ALL, vtep: vtep(5) },
    { op: 'add', mac: ALL, vtep: vtep(5) },
    { op: 'remove', mac: ALL, vtep: vtep(6) },
  ]);
  t.deepEqual(counts, { added: 2, moved: 1, removed: 0, unchanged: 2, missing: 3 });
  t.deepEqual(lab.statics(), { [MAC]: portOf(vtep(4)) });
  t.deepEqual(lab.vteps(), { [vtep(4)]: false, [vtep(5)]: true });
  t.deepEqual(lab.dataplane.staticChanges.flat().length, 1, 'what comes and goes within them is not told');
});

const event = fc.record({
  op: fc.constantFrom('add' as const, 'remove' as const),
  mac: fc.oneof(fc.integer({ min: 0, max: 12 }).map(mac), fc.constant(ALL)),
  vtep: fc.integer({ min: 2, max: 6 }).map(vtep),
});

/** What the FDB should be: MACs where they were put last, and who gets what is flooded. */
function expected(events: readonly VtepEntryChange[]): { entries: Map<string, string>; flooded: Set<string> } {
  const entries = new Map<string, string>();
  const flooded = new Set<string>();
  for (const { op, mac, vtep } of events) {
    if (mac === ALL && op === 'add') flooded.add(vtep);
    else if (mac === ALL) flooded.delete(vtep);
    else if (op === 'add') entries.set(mac, vtep);
    else if (entries.get(mac) === vtep) entries.delete(mac);
  }
  return { entries, flooded };
}

test('whatever is added, moved, removed and said twice, one by one or many at once, the FDB is what follows from it', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.array(event, { maxLength: 12 }), fc.boolean()), { maxLength: 12 }),
      async (batches) => {
        const lab = await makeLab(t, { vxlan: 'remotes: [10.77.0.2]' });
        const { daemon } = lab;
        for (const [batch, isOneByOne] of batches) {
          if (!isOneByOne) await applyEntries(daemon, 'blue', batch);
          else for (const one of batch) await applyEntries(daemon, 'blue', [one]);
        }
        const { entries, flooded } = expected(batches.flatMap(([batch]) => batch));
        t.deepEqual(lab.statics(), Object.fromEntries([...entries].map(([mac, at]) => [mac, portOf(at)])));
        const wanted = new Map([[vtep(2), true]]);
        for (const at of entries.values()) if (!wanted.has(at)) wanted.set(at, false);
        for (const at of flooded) wanted.set(at, true);
        t.deepEqual(lab.vteps(), Object.fromEntries(wanted));
        await daemon.stop();
      },
    ),
    { numRuns: 40 },
  );
});
