/* A path and a document, the path being the first line: whatever is accepted can be walked. */
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/jsonpath.h"
#include "tests/fuzz/fuzz.h"

static bool visit(void *context, kb_val val)
{
    size_t *left = context;
    KB_ASSERT(kb_val_type(val) != KB_NONE);
    return --*left > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    KB_AUTO(kb_jsonpath_destroy) struct kb_jsonpath *path = NULL;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    kb_str rest = kb_str_n((const char *)data, n);
    kb_str first = kb_str_cut(&rest, '\n');
    size_t left = 1000;
    if (kb_jsonpath_new(first, &path, NULL) < 0)
        return 0;
    kb_jsonpath_first(path, (kb_val){0});
    if (rest.p != NULL && kb_json_doc(rest, &doc, NULL) == 0)
        kb_jsonpath_each(path, kb_doc_root(doc), visit, &left);
    return 0;
}
