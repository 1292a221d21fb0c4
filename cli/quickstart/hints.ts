/** What to try next, as commands that work as they stand. */

import { realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { HOME, SERVER, STORE, STORE_PORT, STORES, WIDE } from './hosts.js';
import { HTTP_PORT, SERVED_BY } from './inside/ports.js';
import { ROUTER } from './outside.js';
import { COMMAND } from './paths.js';

/** Whether `tapline` in a shell is this very command. */
function onPath(env: NodeJS.ProcessEnv): boolean {
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    try {
      return realpathSync(join(folder, 'tapline')) === realpathSync(COMMAND);
    } catch {
      // Not in this folder.
    }
  }
  return false;
}

/** In single quotes where the shell would read it otherwise. */
function quoted(text: string): string {
  return /^[\w/.@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Of each host's daemon. */
interface Sockets {
  readonly first: string;
  readonly second: string;
}

/** Of a container of each host. */
interface Addresses {
  readonly server: string;
  readonly depot: string;
}

export function hints(sockets: Sockets, { server, depot }: Addresses, env: NodeJS.ProcessEnv): string[] {
  const served = `curl -s http://${ROUTER.ipv4}:${STORE_PORT}${SERVED_BY}; echo`;
  const alias = onPath(env) ? [] : [`  alias tapline=${quoted(`node ${quoted(COMMAND)}`)}`];
  return [
    'To try next, as root in a second terminal:',
    `  export TAPLINE_SOCKET=${quoted(sockets.first)}`,
    ...alias,
    '  tapline show ports',
    '  tapline show route',
    '  tapline show neigh',
    '  tapline show drops',
    '  tapline show conntrack --nat',
    '  tapline show nat',
    '  tapline publish',
    '  tapline policy ls',
    `  tapline run --network green -- sh -c 'for i in 1 2 3 4 5 6; do ${served}; done'`,
    '  tapline show services',
    `  tapline service update ${STORE} --weight ${STORES[0]}:${HTTP_PORT}=0`,
    '  tapline show vxlan',
    `  tapline vxlan probe ${WIDE}`,
    `  tapline run --network ${WIDE} -- ping -c 3 ${depot}`,
    `  tapline show fdb --socket ${quoted(sockets.second)}`,
    `  tapline capture ${HOME} | tcpdump -nr -`,
    `  tapline capture ${SERVER} --count 100 -w ${SERVER}.pcapng`,
    `  tapline run --network green -- ping -c 3 ${server}`,
    `  tapline run --network ${HOME} -- bash`,
    `  docker run -d --network none --name c1 alpine sleep 1d; tapline connect ${HOME} c1`,
    `  docker exec c1 ping -c 3 ${server}`,
    '',
  ];
}
