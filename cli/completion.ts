/**
 * Shell completion. The scripts ask `tapline __complete WORDS...`, which walks the same command tree that parses, so a
 * new command or option completes without further work; names of objects come from the daemon where one answers.
 */

import type { Argument, Command, Option } from 'commander';
import type { MirrorView } from '../control/mirrors.js';
import type { PolicyRuleView } from '../control/policy.js';
import type { NeighborView, RouteView, VrfView } from '../control/router-views.js';
import type { ServiceView } from '../control/service-views.js';
import { socketPath } from '../control/socket.js';
import type { EndpointView, NetworkView } from '../control/views.js';
import type { OverlayView } from '../control/vxlan/views.js';
import { ApiClient } from './client.js';
import type { Context } from './context.js';

const SCRIPTS = {
  bash: `# tapline completion for bash: source <(tapline completion bash)
_tapline() {
  mapfile -t COMPREPLY < <(tapline __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _tapline tapline
`,
  zsh: `#compdef tapline
# tapline completion for zsh: source <(tapline completion zsh)
_tapline() {
  local -a candidates
  candidates=(\${(f)"$(tapline __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#candidates )); then compadd -a candidates; else _files; fi
}
compdef _tapline tapline
`,
  fish: `# tapline completion for fish: tapline completion fish | source
# Files only where there is nothing of ours to offer.
function __tapline_ask
  set -g __tapline_candidates (tapline __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
  test (count $__tapline_candidates) -gt 0
end
complete -c tapline -n __tapline_ask -f -a '$__tapline_candidates'
`,
} as const;

type Shell = keyof typeof SCRIPTS;

/** How long completion waits for a daemon: a person has pressed Tab. */
const PATIENCE_MS = 500;

/** What the words before the current one lead to. */
interface Position {
  readonly command: Command;
  /** The option whose value comes next, or null. */
  readonly option: Option | null;
  /** Arguments already given to the command. */
  readonly given: number;
}

function findOption(command: Command, word: string): Option | undefined {
  return command.options.find((option) => option.long === word || option.short === word);
}

function walk(program: Command, words: readonly string[]): Position | null {
  let command = program;
  let given = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '--') return null;
    if (word.startsWith('-')) {
      const option = findOption(command, word);
      if (option === undefined || !(option.required || option.optional)) continue;
      if (i === words.length - 1) return { command, option, given };
      i++;
      continue;
    }
    const next = command.commands.find((candidate) => candidate.name() === word || candidate.aliases().includes(word));
    if (next === undefined) given++;
    else command = next;
  }
  return { command, option: null, given };
}

function argumentAt({ command, given }: Position): Argument | undefined {
  const { registeredArguments } = command;
  const last = registeredArguments.at(-1);
  return registeredArguments[given] ?? (last?.variadic === true ? last : undefined);
}

async function staticRoutes(client: ApiClient): Promise<string[]> {
  const routes = await client.get<RouteView[]>('/v1/routes');
  return [...new Set(routes.filter(({ source }) => source === 'static').map(({ prefix }) => prefix))];
}

async function ruleNumbers(client: ApiClient): Promise<string[]> {
  const rules = await client.get<PolicyRuleView[]>('/v1/policy');
  return rules.flatMap(({ number }) => (number === null ? [] : [String(number)]));
}

async function publishedPorts(client: ApiClient): Promise<string[]> {
  return (await client.get<EndpointView[]>('/v1/endpoints')).flatMap(({ publish }) => publish);
}

/** Backends of all services: which one the command line names is not known here. */
async function backendNames(client: ApiClient): Promise<string[]> {
  const services = await client.get<ServiceView[]>('/v1/services');
  return [...new Set(services.flatMap(({ backends }) => backends.map(({ name }) => name)))];
}

/** VTEPs of all networks: which one the command line names is not known here. */
async function vtepAddresses(client: ApiClient): Promise<string[]> {
  const overlays = await client.get<OverlayView[]>('/v1/vxlan');
  return [...new Set(overlays.flatMap(({ vteps }) => vteps.map(({ address }) => address)))];
}

async function toldNeighbors(client: ApiClient): Promise<string[]> {
  const neighbors = await client.get<NeighborView[]>('/v1/neighbors');
  return neighbors.filter(({ state }) => state === 'permanent').map(({ address }) => address);
}

/** Names of objects, for arguments and options called after their kind. */
async function objectNames(kind: string, client: ApiClient): Promise<string[]> {
  const networks = async (): Promise<string[]> =>
    (await client.get<NetworkView[]>('/v1/networks')).map(({ name }) => name);
  const endpoints = async (): Promise<string[]> =>
    (await client.get<EndpointView[]>('/v1/endpoints')).map(({ name }) => name);
  if (kind === 'network' || kind === 'from-network' || kind === 'to-network') return networks();
  if (kind === 'endpoint' || kind === 'from' || kind === 'to') return endpoints();
  if (kind === 'port') return [...(await endpoints()), 'uplink'];
  if (kind === 'published') return publishedPorts(client);
  if (kind === 'vrf') return (await client.get<VrfView[]>('/v1/vrfs')).map(({ name }) => name);
  if (kind === 'static-route') return staticRoutes(client);
  if (kind === 'mirror') return (await client.get<MirrorView[]>('/v1/mirrors')).map(({ name }) => name);
  if (kind === 'service') return (await client.get<ServiceView[]>('/v1/services')).map(({ name }) => name);
  if (kind === 'backend' || kind === 'backend-add') return (await endpoints()).map((name) => `${name}:`);
  if (kind === 'backends' || kind === 'backend-rm' || kind === 'weight') return backendNames(client);
  if (kind === 'rule') return ruleNumbers(client);
  if (kind === 'vtep') return vtepAddresses(client);
  if (kind === 'told-neighbor') return toldNeighbors(client);
  if (kind === 'target') return [...(await networks()), ...(await endpoints()), 'uplink'];
  return [];
}

async function withPatience(names: Promise<string[]>): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined;
  const impatience = new Promise<string[]>((resolve) => {
    timer = setTimeout(() => resolve([]), PATIENCE_MS);
  });
  try {
    // Without a daemon there are no names to offer; an error in the middle of a command line would help nobody.
    return await Promise.race([names.catch(() => []), impatience]);
  } finally {
    clearTimeout(timer);
  }
}

async function candidates(position: Position, current: string, client: ApiClient): Promise<string[]> {
  const { command, option } = position;
  if (option !== null) {
    // A port may be a place in the switch, which has a name, or a number of TCP and UDP.
    if (option.flags.endsWith('<number>')) return [];
    return option.argChoices ?? withPatience(objectNames(option.name(), client));
  }
  if (current.startsWith('-')) {
    return [...command.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? ''), '--help'];
  }
  if (command.commands.length > 0) return command.commands.map((candidate) => candidate.name());
  const argument = argumentAt(position);
  if (argument === undefined) return [];
  return argument.argChoices ?? withPatience(objectNames(argument.name(), client));
}

/** @param words the command line after `tapline`, the last one being the word under the cursor, possibly empty */
export async function complete(program: Command, words: readonly string[], context: Context): Promise<string[]> {
  const current = words.at(-1) ?? '';
  const position = walk(program, words.slice(0, -1));
  if (position === null) return [];
  const flag = words.indexOf('--socket');
  const client = new ApiClient(socketPath(flag < 0 ? undefined : words[flag + 1] || undefined, context.env));
  return (await candidates(position, current, client)).filter((candidate) => candidate.startsWith(current));
}

export function registerCompletion(program: Command, context: Context): void {
  const command = program.command('completion').description('print a completion script for a shell');
  command.addArgument(command.createArgument('<shell>').choices(Object.keys(SCRIPTS)));
  command
    .addHelpText('after', '\nExample, for the shell you are in:\n  source <(tapline completion bash)')
    .action((shell: Shell) => {
      context.stdout.write(SCRIPTS[shell]);
    });
}
