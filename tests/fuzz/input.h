/* A fuzzer's input, read as choices: each byte picks one of a few things that make sense, so that
 * what the fuzzer changes are stories, not their spelling. Behind the end all is zero. */
#ifndef KUBUS_TESTS_FUZZ_INPUT_H
#define KUBUS_TESTS_FUZZ_INPUT_H

#include "bus/base/str.h"

#include <stdint.h>

struct fuzz_input {
    const uint8_t *at, *end;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* Below `n`, which is at most 256. */
static inline unsigned fuzz_below(struct fuzz_input *in, unsigned n)
{
    return fuzz_byte(in) % n;
}

/* A number of few bytes, negative now and then: near zero, where bounds are. */
static inline int64_t fuzz_number(struct fuzz_input *in)
{
    uint8_t kind = fuzz_byte(in);
    int64_t number = fuzz_byte(in);
    if (kind % 16 == 15)
        return INT64_MAX - number;
    if (kind % 16 == 14)
        return -number;
    if (kind % 16 == 13)
        number = number << 24 | fuzz_byte(in);
    return number;
}

/* The next bytes as they are, up to `max`: one byte says how many. */
static inline kb_str fuzz_bytes(struct fuzz_input *in, size_t max)
{
    size_t n = fuzz_byte(in), left = (size_t)(in->end - in->at);
    n = n < max ? n : max;
    n = n < left ? n : left;
    kb_str bytes = kb_str_n((const char *)in->at, n);
    in->at += n;
    return bytes;
}

/* One of the texts; one time in sixteen, bytes of the input. */
static inline kb_str fuzz_text(struct fuzz_input *in, const char *const *texts, size_t n)
{
    uint8_t choice = fuzz_byte(in);
    if (choice % 16 == 15)
        return fuzz_bytes(in, 255);
    return kb_str_of(texts[choice / 16 % n]);
}

#endif
