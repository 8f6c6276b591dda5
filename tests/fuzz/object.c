/* An object as it comes in over HTTP: read, decoded, defaulted, validated, ruled on and printed,
 * for the kind that the first byte picks. What comes out of the defaults can be defaulted again
 * unchanged. */
#include "actors/api/logic/rules.h"
#include "bus/base/check.h"
#include "bus/model/columns.h"
#include "bus/model/json.h"
#include "bus/model/kind.h"
#include "tests/fuzz/fuzz.h"

static void rules(const struct kb_kind *kind, struct kb_arena *a, struct kb_node *obj,
                  struct kb_causes *causes)
{
    struct kb_at at = kb_at_field(NULL, "spec");
    if (kb_str_is(kind->kind, "Pod")) {
        kb_rules_pod_default(a, kb_node_get(obj, "spec"));
        kb_rules_pod_spec(kb_node_get(obj, "spec"), &at, false, causes);
        kb_rules_pod_create(obj, causes);
        kb_rules_pod_update(obj, obj, causes);
        kb_rules_pod_ephemeral(obj, obj, causes);
        kb_rules_pod_qos(kb_node_get(obj, "spec"));
    }
    kb_rules_workload_default(kind->kind, a, obj);
    kb_rules_workload(kind->kind, obj, causes);
    kb_rules_service(obj, obj, causes);
    kb_rules_secret_default(a, obj);
    kb_rules_secret(obj, causes);
    kb_rules_configmap(obj, causes);
    kb_rules_node_default(a, obj);
    kb_rules_node(obj, causes);
    kb_rules_event(obj, causes);
}

static void print(const struct kb_kind *kind, const struct kb_node *obj)
{
    KB_AUTO(kb_columns_destroy) struct kb_columns *columns = NULL;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(obj);
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_ASSERT(kb_columns_new(kb_val_get(kind->source, "columns"), &columns, NULL) == 0);
    kb_columns_row(columns, kb_doc_root(doc), INT64_C(1767323045000000), &w);
    KB_ASSERT(kb_val_count(kb_w_val(&w)) == kb_columns_count(columns));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct kb_kinds *kinds;
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    if (n < 2)
        return 0;
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a};
    struct kb_node *obj = NULL;
    const struct kb_kind *kind = kb_kinds_index(kinds, data[0] % kb_kinds_count(kinds));
    if (kb_json_parse(&a, kb_str_n((const char *)data + 1, n - 1), NULL, &obj, NULL) < 0 ||
        obj->type != KB_MAP || kb_schema_decode(kind->schema, &a, obj, NULL, NULL) < 0)
        return 0;
    kb_schema_default(kind->schema, &a, obj);
    struct kb_node *once = kb_node_copy(&a, obj);
    kb_schema_default(kind->schema, &a, obj);
    KB_ASSERT(kb_node_equal(once, obj));
    rules(kind, &a, obj, &causes);
    kb_schema_validate(kind->schema, obj, NULL, &causes);
    print(kind, obj);
    return 0;
}
