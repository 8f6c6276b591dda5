/* Names of views and the bytes of the log, as others made them: a view that can be parsed has one
 * shape and selects without looking beyond its document; a record that decodes lies in its bytes.
 */
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "store/query.h"
#include "store/record.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static const char declared[] =
    "{\"resource\":\"pods\",\"indices\":[{\"id\":1,\"name\":\"node\",\"path\":\"spec.nodeName\","
    "\"ready\":true},{\"id\":2,\"name\":\"app\",\"path\":\"@label:app\",\"ready\":true}]}";
static const char pod[] = "{\"metadata\":{\"name\":\"web-0\",\"namespace\":\"shop\",\"labels\":{"
                          "\"app\":\"web\"}},\"spec\":{\"nodeName\":\"n1\"}}";

static struct kb_indices indices;
static struct kb_doc *doc;

static void clean(void)
{
    kb_indices_finish(&indices);
    kb_doc_destroy(&doc);
}

static void start(void)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *plan = NULL;
    int rc = kb_json_doc(kb_str_of(declared), &plan, NULL);
    KB_ASSERT(rc == 0);
    rc = kb_indices_apply(&indices, kb_doc_root(plan), NULL);
    KB_ASSERT(rc == 0);
    rc = kb_json_doc(kb_str_of(pod), &doc, NULL);
    KB_ASSERT(rc == 0);
    atexit(clean);
}

static void view(kb_str text)
{
    struct kb_query query = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf shape = {0}, values = {0}, own = {0};
    struct kb_err err = {0};
    if (kb_query_parse(text, &indices, &query, &err) < 0) {
        KB_ASSERT(err.code == KB_EINVAL || err.code == KB_E2BIG);
        return;
    }
    struct kb_key key = {query.resource, kb_str_of("shop"), kb_str_of("web-0")};
    kb_query_shape(&query, &shape);
    kb_query_values(&query, &values);
    bool in_a_view = kb_query_values_of(&query, key, kb_doc_root(doc), &own);
    if (kb_query_match(&query, key, kb_doc_root(doc)))
        KB_ASSERT(in_a_view && kb_str_eq(kb_buf_str(&own), kb_buf_str(&values)));
    kb_query_finish(&query);
}

static bool lies_in(kb_str part, kb_str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void batch(kb_str bytes)
{
    kb_str rest = bytes, entry;
    enum kb_entry_type type;
    struct kb_record record;
    while (kb_entry_next(&rest, &type, &entry, NULL) == 1) {
        KB_ASSERT(lies_in(entry, bytes));
        if (kb_record_peek(entry, &record, NULL) == 0)
            KB_ASSERT(lies_in(record.key, entry) && lies_in(record.doc, entry));
        if (kb_record_decode(entry, &record, NULL) == 0)
            KB_ASSERT(lies_in(record.key, entry) && lies_in(record.doc, entry));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kb_str text = kb_str_n((const char *)data, n);
    struct kb_record record;
    if (doc == NULL)
        start();
    view(text);
    batch(text);
    if (kb_record_peek(text, &record, NULL) == 0)
        KB_ASSERT(lies_in(record.key, text) && lies_in(record.doc, text));
    return 0;
}
