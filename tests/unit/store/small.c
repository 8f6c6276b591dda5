#include "tests/unit/store/small.h"

#include "tests/lib/test.h"

struct small small;

struct kb_engine *small_open(void)
{
    struct kb_engine *e = NULL;
    struct kb_engine_config config = {.dir = kb_test_dir(),
                                      .io = small.io,
                                      .segment_bytes = 64 * 1024,
                                      .map_bytes = 1 << 20,
                                      .checkpoint_bytes = 64 * 1024,
                                      .slice_bytes = 16 * 1024,
                                      .seed = 7};
    KB_CHECK_OK(kb_engine_open(&config, &e, &small.err), &small.err);
    return e;
}

struct kb_doc *small_pod(const char *node, int n)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "uid", "u1");
    kb_w_end(&w);
    kb_w_kmap(&w, "spec");
    kb_w_kcstr(&w, "nodeName", node);
    kb_w_end(&w);
    kb_w_kint(&w, "n", n);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

/* Flush and poll until the batch has ended; its result. */
int small_settle(struct kb_engine *e)
{
    struct kb_commit commit;
    int rc = 0;
    kb_engine_flush(e);
    while (kb_engine_busy(e)) {
        kb_engine_flush(e);
        if (kb_engine_poll(e, &commit) && commit.rc < 0)
            rc = commit.rc;
    }
    return rc;
}

int small_put(struct kb_engine *e, const char *key, const char *node, int n,
              enum kb_write_cond cond, uint64_t rev)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = small_pod(node, n);
    struct kb_write_op op = {
        .key = kb_str_of(key), .doc = kb_doc_root(doc), .cond = cond, .if_rev = rev};
    struct kb_write write = {.ops = &op, .n = 1};
    struct kb_commit commit;
    uint64_t at;
    size_t failed;
    int rc = kb_engine_write(e, &write, &at, &failed, &small.err);
    for (int i = 0; i < 100 && rc == -KB_EFULL;
         i++) { /* not now: let the database be brought up to date */
        kb_engine_tick(e, small.now_ms += 2000);
        while (kb_engine_poll(e, &commit))
            ;
        rc = kb_engine_write(e, &write, &at, &failed, &small.err);
    }
    return rc < 0 ? rc : small_settle(e);
}

int small_stage(struct kb_engine *e, const char *key, const char *node, int n)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = small_pod(node, n);
    struct kb_write_op op = {.key = kb_str_of(key), .doc = kb_doc_root(doc)};
    struct kb_write write = {.ops = &op, .n = 1};
    uint64_t rev;
    size_t failed;
    return kb_engine_write(e, &write, &rev, &failed, &small.err);
}

int small_del(struct kb_engine *e, const char *key)
{
    struct kb_write_op op = {.key = kb_str_of(key), .del = true};
    struct kb_write write = {.ops = &op, .n = 1};
    uint64_t at;
    size_t failed;
    int rc = kb_engine_write(e, &write, &at, &failed, &small.err);
    return rc < 0 ? rc : small_settle(e);
}

int64_t small_value(struct kb_engine *e, const char *key, uint64_t rev)
{
    struct kb_item item;
    int rc = kb_engine_get(e, kb_str_of(key), rev, &item, &small.err);
    return rc < 0 ? rc : kb_val_int_at(item.doc, "n", -1000);
}

static void no_problem(void *user, const char *text)
{
    (void)user;
    kb_test_fail("check", 0, "%s", text);
}

void small_check(struct kb_engine *e)
{
    KB_CHECK_OK(kb_engine_check(e, no_problem, NULL, &small.err), &small.err);
}

size_t small_count(struct kb_engine *e, const char *prefix, const char *index, const char *of)
{
    struct kb_scan scan;
    struct kb_item item;
    struct kb_range range = {.prefix = kb_str_of(prefix),
                             .rev = KB_REV_LATEST,
                             .index = kb_str_of(index),
                             .value = kb_str_of(of)};
    size_t n = 0;
    KB_CHECK_OK(kb_scan_init(&scan, e, &range, &small.err), &small.err);
    while (kb_scan_next(&scan, &item, &small.err) > 0)
        n++;
    kb_scan_finish(&scan);
    return n;
}

int small_declare_node(struct kb_engine *e)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_array(&w);
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", "node");
    kb_w_kcstr(&w, "path", "spec.nodeName");
    kb_w_end(&w);
    kb_w_end(&w);
    int rc = kb_engine_declare(e, kb_str_of("pods"), kb_w_val(&w), &small.err);
    return rc < 0 ? rc : small_settle(e);
}
