#include "store/crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

#define POLY 0x82f63b78u /* the Castagnoli polynomial, bits reversed */

static uint32_t table[256];

__attribute__((constructor)) static void table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? (c >> 1) ^ POLY : c >> 1;
        table[i] = c;
    }
}

uint32_t kb_crc32c_table(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    crc = ~crc;
    for (size_t i = 0; i < n; i++)
        crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *data,
                                                                 size_t n)
{
    const unsigned char *p = data;
    uint64_t c = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        c = _mm_crc32_u64(c, word);
    }
    uint32_t rest = (uint32_t)c;
    for (; n > 0; n--, p++)
        rest = _mm_crc32_u8(rest, *p);
    return ~rest;
}

uint32_t kb_crc32c(uint32_t crc, const void *data, size_t n)
{
    return __builtin_cpu_supports("sse4.2") ? by_instruction(crc, data, n)
                                            : kb_crc32c_table(crc, data, n);
}
#elif defined(__ARM_FEATURE_CRC32)
uint32_t kb_crc32c(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        crc = __crc32cd(crc, word);
    }
    for (; n > 0; n--, p++)
        crc = __crc32cb(crc, *p);
    return ~crc;
}
#else
uint32_t kb_crc32c(uint32_t crc, const void *data, size_t n)
{
    return kb_crc32c_table(crc, data, n);
}
#endif
