/* SHA-256 (FIPS 180-4), for the digests of image blobs. Own, so that the agent does not load a
 * cryptographic library of several megabytes to check file sums. */
#ifndef KUBUS_AGENT_IMAGE_SHA256_H
#define KUBUS_AGENT_IMAGE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct kb_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
};

void kb_sha256_init(struct kb_sha256 *sha);
void kb_sha256_add(struct kb_sha256 *sha, const void *data, size_t n);
enum { KB_SHA256_HEX = 65 };
/* Finish: 64 hexadecimal digits, terminated. */
void kb_sha256_hex(struct kb_sha256 *sha, char out[KB_SHA256_HEX]);

#endif
