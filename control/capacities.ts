/** Sizes of the dataplane's tables, as the worker has them and the micro benchmarks measure them. */

/** Places of the FDB: 2 MiB of entries. */
export const FDB_CAPACITY = 114_688;
