/** Sizes of the dataplane's tables, as the worker has them and the micro benchmarks measure them. */

/** Places of the FDB: 2 MiB of entries. */
export const FDB_CAPACITY = 114_688;

/** Places of the flow table unless the configuration says another number: 84 MiB of address space, touched as flows come. */
export const MAX_FLOWS = 1_048_576;
