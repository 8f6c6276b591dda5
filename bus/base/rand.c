#include "bus/base/rand.h"

#include "bus/base/check.h"

#include <sys/random.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void kb_rand_init(struct kb_rand *rand, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rand->s[i] = splitmix(&seed);
}

void kb_rand_init_system(struct kb_rand *rand)
{
    KB_ASSERT(getrandom(rand->s, sizeof(rand->s), 0) == (ssize_t)sizeof(rand->s));
    rand->s[0] |= 1; /* the all-zero state is the one that never leaves itself */
}

uint64_t kb_rand_next(struct kb_rand *rand)
{
    uint64_t *s = rand->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t kb_rand_below(struct kb_rand *rand, uint64_t bound)
{
    KB_ASSERT(bound > 0);
    unsigned __int128 product = (unsigned __int128)kb_rand_next(rand) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = (0 - bound) % bound;
        while ((uint64_t)product < threshold)
            product = (unsigned __int128)kb_rand_next(rand) * bound;
    }
    return (uint64_t)(product >> 64);
}

double kb_rand_unit(struct kb_rand *rand)
{
    return (double)(kb_rand_next(rand) >> 11) * 0x1.0p-53;
}

void kb_rand_suffix(struct kb_rand *rand, char *out, size_t n)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    for (size_t i = 0; i < n; i++)
        out[i] = alphabet[kb_rand_below(rand, sizeof(alphabet) - 1)];
    out[n] = '\0';
}

void kb_rand_uuid(struct kb_rand *rand, char out[KB_UUID_BYTES])
{
    uint64_t hi = kb_rand_next(rand), lo = kb_rand_next(rand);
    hi = (hi & ~UINT64_C(0xf000)) | 0x4000u;
    lo = (lo & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    for (int i = 0, digit = 0; i < KB_UUID_BYTES - 1; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            out[i] = '-';
            continue;
        }
        uint64_t half = digit < 16 ? hi : lo;
        out[i] = "0123456789abcdef"[half >> (60 - digit++ % 16 * 4) & 15];
    }
    out[KB_UUID_BYTES - 1] = '\0';
}
