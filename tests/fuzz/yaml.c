/* YAML that is accepted is written, read again, and is the same. */
#include "bus/base/check.h"
#include "bus/model/yaml.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *docs, *again;
    struct kb_err err = {0};
    if (kb_yaml_parse(&a, kb_str_n((const char *)data, n), NULL, &docs, &err) < 0)
        return 0;
    for (uint32_t i = 0; i < docs->count; i++) {
        KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
        kb_yaml_write_node(&out, docs->items[i].val);
        KB_ASSERT(kb_yaml_parse_one(&a, kb_buf_str(&out), NULL, &again, &err) == 0);
        KB_ASSERT(kb_node_equal(docs->items[i].val, again));
    }
    return 0;
}
