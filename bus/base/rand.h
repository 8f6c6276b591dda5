/* Seeded randomness: nothing is random by accident. xoshiro256** (Blackman and Vigna, 2018),
 * seeded through splitmix64. */
#ifndef KUBUS_BASE_RAND_H
#define KUBUS_BASE_RAND_H

#include "bus/base/auto.h"

#include <stddef.h>
#include <stdint.h>

struct kb_rand {
    uint64_t s[4];
};

KB_API void kb_rand_init(struct kb_rand *rand, uint64_t seed);
KB_API void kb_rand_init_system(struct kb_rand *rand); /* from getrandom(2) */
KB_API uint64_t kb_rand_next(struct kb_rand *rand);
/* Uniform in [0, bound); bound > 0. Without bias (Lemire, 2019). */
KB_API uint64_t kb_rand_below(struct kb_rand *rand, uint64_t bound);
KB_API double kb_rand_unit(struct kb_rand *rand); /* [0, 1) */

/* `n` characters of Kubernetes' name alphabet "bcdfghjklmnpqrstvwxz2456789", terminated. */
KB_API void kb_rand_suffix(struct kb_rand *rand, char *out, size_t n);
/* A version 4 UUID, RFC 9562: 36 characters, terminated. */
enum { KB_UUID_BYTES = 37 };
KB_API void kb_rand_uuid(struct kb_rand *rand, char out[KB_UUID_BYTES]);

#endif
