/* CRC32C (Castagnoli), the checksum of log records and backups; by instruction where there is one.
 */
#ifndef KUBUS_STORE_CRC32C_H
#define KUBUS_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 at first) over `n` bytes. O(n), some GB/s with SSE 4.2 or ARMv8 CRC. */
uint32_t kb_crc32c(uint32_t crc, const void *data, size_t n);
/* The portable one, by table: the reference that tests compare with. */
uint32_t kb_crc32c_table(uint32_t crc, const void *data, size_t n);

#endif
