/* Objects of no shape at all, for readers that must not trip over them: a sample, of which a few
 * values are something else. */
#ifndef KUBUS_TESTS_LIB_ODD_H
#define KUBUS_TESTS_LIB_ODD_H

#include "bus/base/rand.h"
#include "bus/base/str.h"

#include <stdlib.h>

static const char *const odd_values[] = {"null", "5",    "-1",      "\"x\"", "\"\"",
                                         "[]",   "{}",   "[1]",     "true",  "{\"a\":{\"b\":[]}}",
                                         "1e99", "[[]]", "[{},{}]", "\"-\""};

/* Where the value ends that begins at `at`. */
static inline const char *odd_value_end(const char *at)
{
    int depth = 0;
    for (bool text = false;; at++) {
        if (*at == '"')
            text = !text;
        else if (!text && (*at == '{' || *at == '['))
            depth++;
        else if (!text && (*at == '}' || *at == ']') && --depth < 0)
            return at;
        else if (!text && *at == ',' && depth == 0)
            return at;
    }
}

/* JSON, in which the sample may have ' for ". Caller frees. */
static inline char *odd_object(const char *sample, struct kb_rand *rand)
{
    char *json = kb_strf("%s", sample);
    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    for (uint64_t n = 1 + kb_rand_below(rand, 3); n > 0; n--) {
        size_t values = 0, from = 0;
        for (const char *c = json; *c; c++)
            if (*c == ':' && c[-1] == '"' && kb_rand_below(rand, ++values) == 0)
                from = (size_t)(c - json) + 1;
        if (values == 0)
            break;
        const char *behind = odd_value_end(json + from);
        char *next = kb_strf("%.*s%s%s", (int)from, json,
                             odd_values[kb_rand_below(rand, KB_COUNT(odd_values))], behind);
        free(json);
        json = next;
    }
    return json;
}

#endif
