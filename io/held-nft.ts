/**
 * nftables through libnftables, within this process. A table with the flag `owner` (NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h, Linux
 * 5.12) is its socket's: nobody else changes it, `nft flush ruleset` of others passes it by, and it ends with the process, however that
 * ends. The program `nft` is of no use for it, as its socket lasts no longer than one command.
 */

import koffi from 'koffi';
import { NftMissing } from './nft.js';

/** NFT_CTX_DEFAULT of nftables/libnftables.h. */
const DEFAULT_CONTEXT = 0;

/** The calls of libnftables, on a context. */
interface Library {
  readonly create: (flags: number) => unknown;
  readonly bufferError: (context: unknown) => number;
  readonly errorText: (context: unknown) => string | null;
  readonly run: (context: unknown, script: string) => number;
  readonly free: (context: unknown) => void;
}

let library: Library | null = null;

/** @throws NftMissing */
function load(): Library {
  try {
    const file = koffi.load('libnftables.so.1');
    return {
      create: file.func('void *nft_ctx_new(uint32_t flags)'),
      bufferError: file.func('int nft_ctx_buffer_error(void *context)'),
      errorText: file.func('const char *nft_ctx_get_error_buffer(void *context)'),
      run: file.func('int nft_run_cmd_from_buffer(void *context, const char *script)'),
      free: file.func('void nft_ctx_free(void *context)'),
    };
  } catch {
    throw new NftMissing();
  }
}

/** A socket that holds tables. */
export interface HeldNft {
  /** Carries out a script as one transaction, in about a millisecond. @throws Error with the first line of nft's own words */
  run(script: string): void;
  /** Removes all tables that are its own. */
  close(): void;
}

/** Opens one in the current network namespace. @throws NftMissing; Error */
export function openHeldNft(): HeldNft {
  library ??= load();
  const { create, bufferError, errorText, run, free } = library;
  const context = create(DEFAULT_CONTEXT);
  if (context === null || bufferError(context) !== 0) throw new Error('nft: no context');
  return {
    run: (script) => {
      if (run(context, script) === 0) return;
      const [line = ''] = (errorText(context) ?? '').split('\n', 1);
      throw new Error(`nft: ${line.replace(/^.*?Error: /, '') || 'failed'}`);
    },
    close: () => free(context),
  };
}
