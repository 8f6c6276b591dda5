/* A disk for tests of the store: real files behind an interface that fails, runs full, and loses
 * power at any operation.
 *
 * Writes reach the files at once, and the disk remembers what stood there before. A sync makes them
 * certain. When the power goes, each 512-byte sector that was not synced keeps its new or gets back
 * its old contents, by the seed; the last names that were made, changed or removed without a sync
 * of the folder are undone. From then on every operation fails, so that what runs comes to an end.
 */
#ifndef KUBUS_TESTS_STORE_DISK_H
#define KUBUS_TESTS_STORE_DISK_H

#include "bus/base/rand.h"
#include "store/io.h"

struct disk;

struct disk *disk_new(uint64_t seed, const char *dir); /* for files under `dir` */
void disk_destroy(struct disk **disk_p);
const struct kb_io *disk_io(struct disk *disk);

/* The power goes at the n-th operation from now (1: the next); 0: never. Syncs and commits count.
 */
void disk_cut_after(struct disk *disk, uint64_t n);
bool disk_is_dead(const struct disk *disk);
/* Lose what was not synced, and give the power back. What used the disk is closed by then. */
void disk_power_cycle(struct disk *disk);
/* Everything that needs room fails with ENOSPC. */
void disk_full(struct disk *disk, bool full);
/* The n-th write or sync from now fails with EIO, once. 0: none. */
void disk_error_after(struct disk *disk, uint64_t n);
/* The same for all from then on. */
void disk_broken(struct disk *disk, bool broken);
uint64_t disk_ops(const struct disk *disk);

#endif
