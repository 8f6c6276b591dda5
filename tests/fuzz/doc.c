/* msgpack that passes the check can be walked, turned into a tree and back. */
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    if (kb_doc_new(data, n, &doc, NULL) < 0)
        return 0;
    kb_val root = kb_doc_root(doc);
    KB_ASSERT(kb_val_size(root) == n);
    kb_val_at(root, "metadata.labels[0].a");
    const struct kb_node *tree = kb_node_of(&a, root);
    KB_AUTO(kb_doc_destroy) struct kb_doc *again = kb_node_doc(tree);
    KB_AUTO(kb_doc_destroy) struct kb_doc *third = kb_node_doc(kb_node_of(&a, kb_doc_root(again)));
    const void *x, *y;
    KB_ASSERT(kb_doc_bytes(again, &x) == kb_doc_bytes(third, &y));
    KB_ASSERT(memcmp(x, y, kb_doc_bytes(again, &x)) == 0);
    kb_json_write(&out, root, 0);
    return 0;
}
