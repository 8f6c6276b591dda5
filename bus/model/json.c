/* json.c - JSON text into a tree, through yajl's events.
 *
 * WHAT yajl does not do for us, and where it is done:
 *   - UTF-8: yajl lets overlong forms, surrogates and code points past U+10FFFF through. The whole
 *     text is checked once before it is parsed, and yajl's own check is off.
 *   - Lone surrogate escapes come out of yajl as '?' or as invalid UTF-8. A text that has any is
 *     copied with those escapes replaced by \ufffd; most texts have none.
 *   - What stands behind the value: yajl accepts an unterminated string there. It is told to stop
 *     behind the value, and the rest is checked here to be white space.
 *   - Numbers: through the number's text; yajl's integers are not all of int64.
 *   - Depth and duplicate keys.
 *
 * Duplicates are found by a walk over the map's members while it is small, and by a seeded hash
 * above, so that a large hostile body costs linear time. */
#include "bus/model/json.h"

#include "bus/base/check.h"
#include "bus/base/limits.h"
#include "bus/base/map.h"
#include "bus/model/read.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

struct reader {
    struct kb__builder b;
    struct kb_err *err;
    int rc; /* why a callback stopped the parser */
};

static int reader_add(struct reader *r, struct kb_node *node)
{
    kb__builder_add(&r->b, node);
    return 1;
}

static int on_null(void *ctx)
{
    struct reader *r = ctx;
    return reader_add(r, kb_node_nil(r->b.arena));
}

static int on_bool(void *ctx, int value)
{
    struct reader *r = ctx;
    return reader_add(r, kb_node_bool(r->b.arena, value != 0));
}

static int on_number(void *ctx, const char *text, size_t n)
{
    struct reader *r = ctx;
    int64_t i;
    if (kb_str_i64(kb_str_n(text, n), &i))
        return reader_add(r, kb_node_int(r->b.arena, i));
    kb_str copy = kb_arena_str(r->b.arena, kb_str_n(text, n));
    double d = strtod(copy.p, NULL);
    if (isfinite(d))
        return reader_add(r, kb_node_double(r->b.arena, d));
    r->rc = kb_err_set(r->err, KB_EINVAL, "invalid JSON: number %.40s is out of range", copy.p);
    return 0;
}

static int on_text(void *ctx, const unsigned char *text, size_t n)
{
    struct reader *r = ctx;
    return reader_add(r, kb_node_str(r->b.arena, kb_str_n((const char *)text, n)));
}

static int on_key(void *ctx, const unsigned char *text, size_t n)
{
    struct reader *r = ctx;
    kb__builder_key(&r->b, kb_str_n((const char *)text, n));
    return 1;
}

static int reader_open(struct reader *r, struct kb_node *node)
{
    if (kb__builder_open(&r->b, node))
        return 1;
    r->rc = kb_err_set(r->err, KB_E2BIG, "invalid JSON: nested deeper than %u", KB_DEPTH_MAX);
    return 0;
}

static int on_map(void *ctx)
{
    struct reader *r = ctx;
    return reader_open(r, kb_node_map(r->b.arena));
}

static int on_array(void *ctx)
{
    struct reader *r = ctx;
    return reader_open(r, kb_node_array(r->b.arena));
}

static int on_end(void *ctx)
{
    struct reader *r = ctx;
    kb__builder_close(&r->b);
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_text,
    .yajl_start_map = on_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_array,
    .yajl_end_array = on_end,
};

/* The four digits behind "\u" at `p`, or -1. */
static int hex4(const char *p, const char *end)
{
    int x = 0;
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        x = x << 4 | digit;
    }
    return x;
}

/* The text with each lone surrogate escape written as \ufffd: itself when it has none. */
static kb_str without_lone_surrogates(struct kb_arena *a, kb_str text)
{
    if (!kb_str_has(text, '\\') ||
        (memmem(text.p, text.n, "\\ud", 3) == NULL && memmem(text.p, text.n, "\\uD", 3) == NULL))
        return text;
    kb_str copy = kb_arena_str(a, text);
    char *p = (char *)copy.p, *end = p + copy.n;
    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL && end - p >= 2) {
        int unit = hex4(p, end);
        if (unit >= 0xd800 && unit <= 0xdbff) {
            int low = hex4(p + 6, end);
            if (low >= 0xdc00 && low <= 0xdfff) {
                p += 12;
                continue;
            }
        }
        if (unit >= 0xd800 && unit <= 0xdfff)
            memcpy(p, "\\ufffd", 6);
        p += unit >= 0 ? 6 : 2;
    }
    return copy;
}

static void *reader_alloc(void *ctx, size_t n)
{
    (void)ctx;
    void *p = malloc(n);
    KB_ASSERT(p != NULL);
    return p;
}

static void *reader_realloc(void *ctx, void *old, size_t n)
{
    (void)ctx;
    void *p = realloc(old, n);
    KB_ASSERT(p != NULL);
    return p;
}

static void reader_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

static int syntax_error(yajl_handle y, kb_str text, struct kb_err *err)
{
    unsigned char *message = yajl_get_error(y, 0, (const unsigned char *)text.p, text.n);
    kb_str shown = kb_str_trim(kb_str_of((const char *)message));
    int rc = kb_err_set(err, KB_EINVAL, "invalid JSON: " KB_STR_FMT " at byte %zu",
                        KB_STR_ARG(shown), yajl_get_bytes_consumed(y));
    yajl_free_error(y, message);
    return rc;
}

/* What stands behind the value must be white space. */
static int check_rest(kb_str text, size_t at, struct kb_err *err)
{
    for (; at < text.n; at++)
        if (strchr(" \t\r\n", text.p[at]) == NULL || text.p[at] == '\0')
            return kb_err_set(err, KB_EINVAL, "invalid JSON: text after the value at byte %zu", at);
    return 0;
}

static int reader_run(struct reader *r, yajl_handle y, kb_str text)
{
    yajl_status status = yajl_parse(y, (const unsigned char *)text.p, text.n);
    size_t at = yajl_get_bytes_consumed(y);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(y);
    if (r->rc < 0)
        return r->rc;
    if (status != yajl_status_ok)
        return syntax_error(y, text, r->err);
    if (r->b.root == NULL)
        return kb_err_set(r->err, KB_EINVAL, "invalid JSON: the text is empty");
    return check_rest(text, at, r->err);
}

int kb_json_parse(struct kb_arena *a, kb_str text, const struct kb_read_opts *opts,
                  struct kb_node **ret_node, struct kb_err *err)
{
    if (!kb_str_is_utf8(text))
        return kb_err_set(err, KB_EINVAL, "invalid JSON: the text is not UTF-8");
    if (text.n == 0)
        return kb_err_set(err, KB_EINVAL, "invalid JSON: the text is empty");
    struct reader r = {.b = {.arena = a, .opts = opts}, .err = err};
    yajl_alloc_funcs alloc = {reader_alloc, reader_realloc, reader_free, NULL};
    yajl_handle y = yajl_alloc(&callbacks, &alloc, &r);
    yajl_config(y, yajl_dont_validate_strings, 1);
    yajl_config(y, yajl_allow_trailing_garbage, 1);
    int rc = reader_run(&r, y, without_lone_surrogates(a, text));
    yajl_free(y);
    if (rc == 0)
        *ret_node = r.b.root;
    kb__builder_finish(&r.b);
    return rc;
}

int kb_json_doc(kb_str text, struct kb_doc **ret_doc, struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *node;
    int rc = kb_json_parse(&a, text, NULL, &node, err);
    if (rc == 0)
        *ret_doc = kb_node_doc(node);
    return rc;
}
