/** `tapline vxlan probe|add|rm`: whether packets pass to the other hosts of a network, and which hosts these are. */

import type { Command } from 'commander';
import type { ProbeResult } from '../control/types.js';
import type { ProbeView, VtepView } from '../control/vxlan/views.js';
import { type Context, clientOf, wantsJson, withJson, withSocket } from './context.js';
import { networkPath } from './network.js';
import { type Column, formatTable, printJson } from './output.js';

const OUTCOMES: Readonly<Record<ProbeResult['outcome'], string>> = {
  answered: 'ok',
  lost: 'no answer',
  'wrong-checksum': 'wrong checksum',
};

const PROBES: readonly Column<ProbeView>[] = [
  { title: 'NETWORK', value: ({ network }) => network },
  { title: 'VTEP', value: ({ address }) => address },
  { title: 'UDP', value: ({ udp }) => OUTCOMES[udp.outcome] },
  { title: 'TCP', value: ({ tcp }) => OUTCOMES[tcp.outcome] },
  { title: 'FULL-SIZE', value: ({ fullSize, mtu }) => `${OUTCOMES[fullSize.outcome]} (${mtu})` },
  { title: 'MS', value: ({ udp }) => millisecondsText(udp) },
  { title: 'WHAT', value: findingOf },
];

/** Whole ones: the dataplane's clock has no others. */
function millisecondsText({ milliseconds }: ProbeResult): string {
  if (milliseconds === null) return '-';
  return milliseconds < 1 ? '<1' : milliseconds.toFixed(0);
}

function passes({ udp, tcp, fullSize }: ProbeView): boolean {
  return [udp, tcp, fullSize].every(({ outcome }) => outcome === 'answered');
}

/** What the results say together. */
function findingOf(probe: ProbeView): string {
  const { udp, tcp, fullSize, why, mtu } = probe;
  if (passes(probe)) return 'all passes';
  if (why !== '') return why;
  if ([udp, tcp, fullSize].every(({ outcome }) => outcome === 'lost'))
    return 'no answer: no Tapline there, or packets are lost';
  if (udp.outcome === 'wrong-checksum' || tcp.outcome === 'wrong-checksum')
    return 'damaged on the way: somebody computes checksums wrong';
  if (fullSize.outcome !== 'answered' && udp.outcome === 'answered')
    return `packets of ${mtu} bytes do not pass: the wire takes less than the MTU says`;
  return 'some are lost';
}

const PROBE_HELP = `
Sends three packets through each VTEP, as an endpoint would: a small UDP datagram, a TCP segment whose checksum is left to be computed on
the way, and one as large as the MTU allows that nobody may fragment. Another Tapline checks them and answers in kind; the kernel's vxlan
device does not answer. Exit code 1 where something does not pass.

Examples:
  tapline vxlan probe
  tapline vxlan probe blue --json`;

function registerProbe(vxlan: Command, context: Context): void {
  withJson(withSocket(vxlan.command('probe')))
    .argument('[network]')
    .description('try what passes through each VTEP')
    .addHelpText('after', PROBE_HELP)
    .action(async (network: string | undefined, _options: unknown, command: Command) => {
      const body = network === undefined ? {} : { network };
      const probes = await clientOf(command, context).post<ProbeView[]>('/v1/vxlan/probe', body);
      if (wantsJson(command)) printJson(context, probes);
      else context.stdout.write(probes.length === 0 ? 'no VTEPs\n' : formatTable(PROBES, probes));
      if (!probes.every(passes)) context.exitCode = 1;
    });
}

function vtepsPath(network: string): string {
  return `${networkPath(network)}/vteps`;
}

const ADD_HELP = `
The VTEP gets what is flooded in the network, like those of \`remotes\` in a file, and its frames are taken. With --no-flood it gets only what
is for MACs that are known to be behind it.

Example:
  tapline vxlan add blue 10.77.0.3`;

function registerAdd(vxlan: Command, context: Context): void {
  withJson(withSocket(vxlan.command('add')))
    .argument('<network>')
    .argument('<address>')
    .description('add another host to a network')
    .option('--no-flood', 'it does not get what is flooded')
    .addHelpText('after', ADD_HELP)
    .action(async (network: string, address: string, { flood }: { flood: boolean }, command: Command) => {
      const body = { address, ...(flood ? {} : { floods: false }) };
      const vtep = await clientOf(command, context).post<VtepView>(vtepsPath(network), body);
      if (wantsJson(command)) printJson(context, vtep);
      else context.stdout.write(`${vtep.address}\n`);
    });
}

function registerRemove(vxlan: Command, context: Context): void {
  withJson(withSocket(vxlan.command('rm')))
    .alias('remove')
    .argument('<network>')
    .argument('<vtep>')
    .description('remove a host that was added')
    .action(async (network: string, address: string, _options: unknown, command: Command) => {
      await clientOf(command, context).delete(`${vtepsPath(network)}/${encodeURIComponent(address)}`);
      if (wantsJson(command)) printJson(context, { network, address });
      else context.stdout.write(`${address}\n`);
    });
}

export function registerVxlan(program: Command, context: Context): void {
  const vxlan = program.command('vxlan').description('hosts of a network that spans several, and whether packets pass');
  for (const register of [registerProbe, registerAdd, registerRemove]) register(vxlan, context);
}
