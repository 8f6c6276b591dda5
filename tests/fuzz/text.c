/* The small formats that stand in headers, URLs and fields: times, base64, keys, percent signs, and
 * what a client accepts. What can be read is written again, and read again as the same. */
#include "actors/api/accept.h"
#include "bus/base/base64.h"
#include "bus/base/check.h"
#include "bus/base/clock.h"
#include "bus/http/url.h"
#include "bus/model/key.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void times(kb_str text)
{
    char again[KB_TIME_BYTES];
    int64_t us = 0, same = 0;
    KB_AUTO(kb_auto_free) char *line = kb_str_dup(text);
    if (kb_time_parse(line, &us) < 0)
        return;
    kb_time_format_micro(us, again);
    KB_ASSERT(kb_time_parse(again, &same) == 0 && same == us);
}

static void base64(kb_str text)
{
    KB_AUTO(kb_buf_finish) struct kb_buf bytes = {0}, again = {0}, same = {0};
    if (kb_base64_decode(text, &bytes) == 0) {
        kb_base64_encode(kb_buf_str(&bytes), &again);
        KB_ASSERT(kb_base64_decode(kb_buf_str(&again), &same) == 0);
        KB_ASSERT(kb_str_eq(kb_buf_str(&same), kb_buf_str(&bytes)));
    }
    kb_buf_clear(&bytes);
    (void)kb_base64url_decode(text, &bytes);
}

static void urls(kb_str text)
{
    KB_AUTO(kb_buf_finish) struct kb_buf encoded = {0};
    KB_AUTO(kb_auto_free) char *decoded = malloc(3 * text.n + 1);
    KB_ASSERT(decoded != NULL);
    ptrdiff_t n = kb_url_decode(text, true, decoded);
    KB_ASSERT(n <= (ptrdiff_t)text.n);
    kb_url_encode(text, &encoded);
    n = kb_url_decode(kb_buf_str(&encoded), false, decoded);
    KB_ASSERT(n >= 0 && kb_str_eq(kb_str_n(decoded, (size_t)n), text));
    kb_str rest = text, key, value;
    while (kb_url_param(&rest, &key, &value))
        KB_ASSERT(key.n + value.n <= text.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kb_str text = kb_str_n((const char *)data, n);
    struct kb_accept accept;
    struct kb_key key;
    times(text);
    base64(text);
    urls(text);
    for (unsigned forms = 0; forms < 16; forms += 5)
        if (kb_accept_parse(text, forms, &accept))
            KB_ASSERT(kb_accept_content_type(&accept) != NULL);
    if (kb_key_parse(text, &key, NULL) == 0)
        KB_ASSERT(key.resource.n + key.ns.n + key.name.n <= n);
    return 0;
}
