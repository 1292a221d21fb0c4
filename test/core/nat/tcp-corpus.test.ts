/** Recorded connections through the tracker: what it drops of them is listed here, packet counts and reasons, and nothing else. */

import test from 'ava';
import { corpusDirectory, corpusNote, loadCaptures } from '../../support/corpus.js';
import { TcpReplay } from './tcp-captures.js';

/** The capture lacks segments, which the other side acknowledges: on the wire they were there. */
const GAP = 'segments are missing that the other side acknowledges';
/** Only one direction was captured, or they are on addresses that do not match. */
const ONE_SIDE = 'answers to the SYN are missing';
/** The capture has the SYN-ACK before its SYN. */
const ORDER = 'captured in another order than sent';
/** Made by hand or by a fuzzer: data far behind what the other side ever allowed. */
const BEYOND = 'data behind the limit of the other side';
const INJECTED = 'an RST outside the window, or one that acknowledges another number than the SYN';
const ILLEGAL = 'flags that no segment may have, or not before the SYN is answered';

/** By hand, with tshark. [file, packets, why] */
const DROPPED: readonly (readonly [string, number, string])[] = [
  ['gopacket__layers_testdata_cip.pcap', 33, ONE_SIDE],
  ['pcapplusplus__cap_unidirectional_tcp_stream_with_missing_packet.pcap', 13, ONE_SIDE],
  ['tcpdump__tfo-5c1fa7f9ae91.pcap', 1, ILLEGAL],
  ['trex__scripts_exp_pcap_with_vm.pcap', 10, ONE_SIDE],
  ['trex__scripts_exp_tcp2_http_rst_s.pcap', 6, INJECTED],
  ['zeek__dce-rpc_20-fids-no-close.pcap', 369, GAP],
  ['zeek__ftp_bigtransfer.pcap', 20, GAP],
  ['zeek__ftp_cwd-navigation.pcap', 7603, GAP],
  ['zeek__http_bro.org-filtered.pcap', 14, GAP],
  ['zeek__http_bro.org.pcap', 1, GAP],
  ['zeek__http_content-range-gap.pcap', 1, GAP],
  ['zeek__http_zero-length-bodies-with-drops.pcap', 26, GAP],
  ['zeek__ipv6-http-atomic-frag.pcap', 4, ORDER],
  ['zeek__portmapper-many-unanswered-calls.pcapng', 132, BEYOND],
  ['zeek__redis_oss-fuzz-473580107.pcap', 69, BEYOND],
  ['zeek__smtp-attachment-msg.pcap', 16, ONE_SIDE],
  ['zeek__smtp-one-side-only.pcap', 18, ONE_SIDE],
  ['zeek__smtp_smtp-bdat-gap.pcap', 17, GAP],
  ['zeek__smtp_smtp-many-addresses.pcap', 85, BEYOND],
  ['zeek__ssh_ssh.client-side-half-duplex.pcap', 816, ONE_SIDE],
  ['zeek__tcp_fin_retransmission.pcap', 1, ILLEGAL],
  ['zeek__tcp_handshake-reorder.pcap', 6, ORDER],
  ['zeek__tcp_reassembly.pcap', 1, GAP],
  ['zeek__tcp_rst-inject-rae.pcap', 1, INJECTED],
  ['zeek__tcp_syn-then-stuff-then-rst.pcap', 1, ILLEGAL],
  ['zeek__tls_ocsp-request-only.pcap', 1, GAP],
  ['zeek__tls_ocsp-response-only.pcap', 6, GAP],
];

test('every connection that begins with a SYN passes, but for what its capture lacks or invents', async (t) => {
  const note = corpusNote();
  if (note !== null) t.log(note);
  const captures = await loadCaptures();
  const replay = new TcpReplay();
  for (const capture of captures) replay.run(capture);
  if (corpusDirectory() === null) {
    t.is(replay.dropped.length, 0);
    return;
  }
  const dropped = new Map<string, number>();
  for (const { capture } of replay.dropped) dropped.set(capture, (dropped.get(capture) ?? 0) + 1);
  t.deepEqual(
    [...dropped],
    DROPPED.map(([name, packets]) => [name, packets]),
  );
  t.true(replay.connections > 4000);
  t.true(replay.segments > 60_000);
  for (const stage of ['syn_sent', 'syn_received', 'established', 'fin', 'closing', 'reset']) {
    t.true((replay.stages.get(stage) ?? 0) > 300, stage);
  }
  t.true((replay.ends.get('closing') ?? 0) > 600, 'most that are complete end by FIN');
});

test('in each capture that lacks segments, the first drop of a connection is an acknowledgment of what was not captured', async (t) => {
  if (corpusDirectory() === null) {
    t.pass(corpusNote() as string);
    return;
  }
  const gaps = new Set(DROPPED.filter(([, , why]) => why === GAP).map(([name]) => name));
  for (const capture of (await loadCaptures()).filter(({ name }) => gaps.has(name))) {
    const replay = new TcpReplay();
    replay.run(capture);
    t.true(replay.dropped.length > 0, capture.name);
    for (const judged of replay.dropped.filter(({ isFirst }) => isFirst)) {
      t.true(judged.isGap, `${capture.name}: packet ${judged.packet} acknowledges and sends nothing unknown`);
    }
  }
});
