/** Debian packages: which purpose needs which, which are missing, and how they get installed. */

import { spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { StepError, step } from './step.mjs';

/**
 * The Debian package and what shows that it, or something in its place, is there: a command (looked for on PATH and in the
 * sbin folders) or an absolute path. So a Docker from elsewhere than Debian's docker.io is as good.
 */
const RUN = [
  ['iproute2', 'ip'],
  ['iputils-ping', 'ping'],
  ['procps', 'ps'],
  ['util-linux', 'nsenter'],
];
/** What Debian has nginx pass TCP connections on with. */
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';
const TEST = [
  ...RUN,
  ['bind9-dnsutils', 'dig'],
  ['busybox-static', 'busybox'],
  ['coturn', 'turnserver'],
  ['curl', 'curl'],
  ['dnsmasq-base', 'dnsmasq'],
  ['docker.io', 'dockerd'],
  ['ethtool', 'ethtool'],
  ['gcc', 'gcc'],
  ['haproxy', 'haproxy'],
  ['iperf3', 'iperf3'],
  ['iptables', 'iptables'],
  ['iputils-arping', 'arping'],
  ['iputils-tracepath', 'tracepath'],
  ['isc-dhcp-client', 'dhclient'],
  ['libc6-dev', '/usr/include/stdio.h'],
  ['libcap2-bin', 'capsh'],
  ['libnginx-mod-stream', NGINX_STREAM],
  ['mtr-tiny', 'mtr'],
  ['ndisc6', 'rdisc6'],
  ['netsniff-ng', 'mausezahn'],
  ['nftables', 'nft'],
  ['nginx-light', 'nginx'],
  ['openssl', 'openssl'],
  ['podman', 'podman'],
  ['python3-scapy', '/usr/lib/python3/dist-packages/scapy'],
  ['runc', 'runc'],
  ['socat', 'socat'],
  ['stun-client', '/usr/bin/stun'],
  ['tcpdump', 'tcpdump'],
  ['tftp-hpa', 'tftp'],
  ['tftpd-hpa', 'in.tftpd'],
  ['traceroute', 'traceroute'],
  ['tshark', 'tshark'],
  ['vsftpd', 'vsftpd'],
  ['wrk', 'wrk'],
];
const BENCH = [
  ...RUN,
  ['gcc', 'gcc'],
  ['haproxy', 'haproxy'],
  ['iperf3', 'iperf3'],
  ['libc6-dev', '/usr/include/stdio.h'],
  ['libnginx-mod-stream', NGINX_STREAM],
  ['nftables', 'nft'],
  ['nginx-light', 'nginx'],
  ['wrk', 'wrk'],
];
const NEEDS = { run: RUN, test: TEST, bench: BENCH };

export const PURPOSES = Object.keys(NEEDS);

const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * Programs by which a package's installation script starts services or has them started at boot. Tapline's tests start
 * the daemons that they need by hand and stop them again; a web server or a Docker daemon that runs from now on because
 * somebody ran a test would be none of our business. See `withoutServices`.
 */
const SERVICE_PROGRAMS = ['deb-systemd-helper', 'deb-systemd-invoke', 'invoke-rc.d', 'update-rc.d'];

/** Installs what `purpose` lacks, or throws a StepError that lists it. */
export function ensurePackages(purpose) {
  const missing = missingPackages(NEEDS[purpose]);
  if (missing.length === 0) return;
  if (process.getuid() !== 0 || findProgram('apt-get') === null)
    throw new StepError(`please install: ${missing.join(' ')}`);
  install(missing);
  const still = missingPackages(NEEDS[purpose]);
  if (still.length > 0) throw new StepError(`apt-get left these missing; please install: ${still.join(' ')}`);
}

/** Packages of which neither the program is found nor the package manager knows: looking at files first takes no process. */
function missingPackages(needs) {
  const absent = needs.filter(([, proof]) => !isThere(proof)).map(([name]) => name);
  if (absent.length === 0) return [];
  const installed = installedPackages(absent);
  return absent.filter((name) => !installed.has(name));
}

function isThere(proof) {
  return proof.startsWith('/') ? existsSync(proof) : findProgram(proof) !== null;
}

function findProgram(name) {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...SBIN]) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return null;
}

/** Those of `names` that dpkg holds installed; none where there is no dpkg. */
function installedPackages(names) {
  // dpkg-query exits 1 when it knows nothing of one of the names, and still lists the others.
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = '${Package} ${db:Status-Status}\n';
  const query = spawnSync('dpkg-query', ['--show', '--showformat', format, ...names], { encoding: 'utf8' });
  const lines = (query.stdout ?? '').split('\n').map((line) => line.split(' '));
  return new Set(lines.filter(([, status]) => status === 'installed').map(([name]) => name));
}

function install(names) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  step('Debian package lists', ['apt-get', 'update'], { env });
  withoutServices((path) => {
    const options = ['--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', '-o', `DPkg::Path=${path}`];
    step(`Debian packages ${names.join(' ')}`, ['apt-get', 'install', ...options, ...names], { env });
  });
}

/**
 * Calls `use` with a search path for apt's DPkg::Path in which the programs that start and enable services do nothing.
 * Nothing outside of this one run of apt-get sees it, which a policy-rc.d in /usr/sbin could not promise.
 */
function withoutServices(use) {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-setup-'));
  try {
    for (const name of SERVICE_PROGRAMS) {
      writeFileSync(join(directory, name), '#!/bin/sh\nexit 0\n');
      chmodSync(join(directory, name), 0o755);
    }
    use(`${directory}:/usr/sbin:/usr/bin:/sbin:/bin`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
