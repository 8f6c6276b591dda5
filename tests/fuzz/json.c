/* JSON that is accepted is written, read again, and is the same. */
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "tests/fuzz/fuzz.h"

static void ignore(void *arg, const char *path)
{
    *(size_t *)arg += strlen(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    size_t seen = 0;
    struct kb_read_opts opts = {ignore, &seen};
    struct kb_node *node, *again;
    struct kb_err err = {0};
    if (kb_json_parse(&a, kb_str_n((const char *)data, n), &opts, &node, &err) < 0)
        return 0;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(node);
    kb_json_write(&out, kb_doc_root(doc), n & 1 ? KB_JSON_PRETTY : 0);
    KB_ASSERT(kb_json_parse(&a, kb_buf_str(&out), NULL, &again, &err) == 0);
    KB_ASSERT(kb_node_equal(node, again));
    kb_buf_clear(&out);
    kb_json_write_object(&out, kb_doc_root(doc), 7);
    KB_ASSERT(kb_json_parse(&a, kb_buf_str(&out), NULL, &again, &err) == 0);
    return 0;
}
