/* Discovery and OpenAPI of the built-in kinds, as clients read them. */
#include "bus/model/columns.h"
#include "bus/model/discovery.h"
#include "bus/model/json.h"
#include "bus/model/openapi.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static struct kb_doc *parsed(struct kb_buf *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_buf_str(text), &doc, &err), &err);
    kb_buf_finish(text);
    return doc;
}

static struct kb_doc *document(const char *group, const char *version)
{
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *kinds = kb_kinds_builtin();
    struct kb_buf out = {0};
    KB_CHECK(kb_openapi_document(kinds, kb_str_of(group), kb_str_of(version), "v1.32.0", &out) ==
             0);
    return parsed(&out);
}

static kb_val schema_of(const struct kb_doc *doc, const char *name)
{
    kb_val val = kb_val_get(kb_doc_at(doc, "components.schemas"), name);
    if (!kb_val_present(val))
        kb_test_fail(__FILE__, __LINE__, "no schema %s", name);
    return val;
}

static void check_json(kb_val val, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_json_write(&out, val, 0);
    KB_CHECK_STR(out.p, want);
}

/* All values of "$ref" below, each checked to lead to a component; how many there were. */
static size_t check_refs(const struct kb_doc *doc, kb_val val)
{
    static const char prefix[] = "#/components/schemas/";
    size_t n = 0;
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);) {
        kb_str ref = kb_val_str(it.val);
        if (kb_str_is(it.key, "$ref") && ref.n > 0) {
            KB_CHECK(kb_str_starts(ref, prefix));
            char name[256];
            KB_CHECK(kb_str_copy(kb_str_n(ref.p + sizeof(prefix) - 1, ref.n - sizeof(prefix) + 1),
                                 name, sizeof(name)));
            schema_of(doc, name);
            n++;
        }
        n += check_refs(doc, it.val);
    }
    return n;
}

KB_TEST(openapi, every_reference_leads_somewhere)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *core = document("", "v1");
    KB_AUTO(kb_doc_destroy) struct kb_doc *apps = document("apps", "v1");
    KB_CHECK_U64(check_refs(core, kb_doc_root(core)), >, 300);
    KB_CHECK_U64(check_refs(apps, kb_doc_root(apps)), >, 150);
}

KB_TEST(openapi, fields_look_as_explain_wants_them)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *apps = document("apps", "v1");
    kb_val spec = kb_val_get(schema_of(apps, "io.k8s.api.apps.v1.DeploymentSpec"), "properties");
    KB_CHECK_STRN(kb_val_str_at(spec, "replicas.type"), "integer");
    KB_CHECK_STRN(kb_val_str_at(spec, "template.allOf[0].$ref"),
                  "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec");
    KB_CHECK_STRN(kb_val_str_at(spec, "template.description"),
                  "What pods that a controller creates look like.");
    KB_CHECK_STRN(kb_val_str_at(spec, "strategy.allOf[0].$ref"),
                  "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy");
    check_json(kb_val_get(kb_val_get(spec, "strategy"), "x-kubernetes-patch-strategy"),
               "\"retainKeys\"");
    kb_val rolling = schema_of(apps, "io.k8s.api.apps.v1.RollingUpdateDeployment");
    KB_CHECK_STRN(kb_val_str_at(rolling, "properties.maxSurge.allOf[0].$ref"),
                  "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString");
    kb_val meta = schema_of(apps, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    check_json(kb_val_at(meta, "properties.labels.additionalProperties"), "{\"type\":\"string\"}");
    KB_CHECK_STRN(kb_val_str_at(meta, "properties.creationTimestamp.allOf[0].$ref"),
                  "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Time");
    KB_CHECK_STRN(kb_val_str_at(meta, "properties.ownerReferences.x-kubernetes-patch-merge-key"),
                  "uid");
    kb_val quantity = schema_of(apps, "io.k8s.apimachinery.pkg.api.resource.Quantity");
    check_json(kb_val_get(quantity, "oneOf"), "[{\"type\":\"string\"},{\"type\":\"number\"}]");
    kb_val deployment = schema_of(apps, "io.k8s.api.apps.v1.Deployment");
    check_json(kb_val_get(deployment, "x-kubernetes-group-version-kind"),
               "[{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}]");
    schema_of(apps, "io.k8s.api.apps.v1.DeploymentList");
}

static bool has_private_word(kb_val val)
{
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);)
        if (kb_str_starts(it.key, "x-kubus-") || has_private_word(it.val))
            return true;
    return false;
}

KB_TEST(openapi, our_own_words_stay_inside)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *core = document("", "v1");
    KB_CHECK(!has_private_word(kb_doc_root(core)));
}

KB_TEST(openapi, operations_name_their_kind_and_parameters)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *apps = document("apps", "v1");
    kb_val paths = kb_doc_at(apps, "paths");
    kb_val one = kb_val_get(paths, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    KB_CHECK_STRN(kb_val_str_at(one, "get.x-kubernetes-group-version-kind.kind"), "Deployment");
    bool validation = false, dry = false;
    for (struct kb_iter it = kb_iter(kb_val_at(one, "patch.parameters")); kb_iter_next(&it);) {
        validation |= kb_str_is(kb_val_str_at(it.val, "name"), "fieldValidation");
        dry |= kb_str_is(kb_val_str_at(it.val, "name"), "dryRun");
    }
    KB_CHECK(validation && dry);
    kb_val all = kb_val_get(paths, "/apis/apps/v1/deployments");
    KB_CHECK(kb_val_present(kb_val_get(all, "get")) && !kb_val_present(kb_val_get(all, "post")));
    kb_val scale =
        kb_val_get(paths, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale");
    KB_CHECK_STRN(kb_val_str_at(scale, "put.x-kubernetes-group-version-kind.kind"), "Scale");
    KB_CHECK_STRN(kb_val_str_at(scale, "put.x-kubernetes-group-version-kind.group"), "autoscaling");
}

KB_TEST(openapi, index_leads_to_each_version_once)
{
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *kinds = kb_kinds_builtin();
    struct kb_buf out = {0}, again = {0};
    kb_openapi_index(kinds, "v1.32.0", &again);
    kb_openapi_index(kinds, "v1.32.0", &out);
    KB_CHECK_STR(out.p, again.p);
    kb_buf_finish(&again);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = parsed(&out);
    kb_val paths = kb_doc_at(doc, "paths");
    KB_CHECK_U64(kb_val_count(paths), >=, 6);
    KB_CHECK(kb_str_starts(
        kb_val_str(kb_val_get(kb_val_get(paths, "apis/apps/v1"), "serverRelativeURL")),
        "/openapi/v3/apis/apps/v1?hash="));
    KB_CHECK(kb_val_present(kb_val_get(paths, "api/v1")));
    KB_CHECK(kb_openapi_document(kinds, kb_str_of("no"), kb_str_of("v1"), "v1.32.0", &again) ==
             -KB_ENOTFOUND);
}

KB_TEST(discovery, groups_and_resources)
{
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *kinds = kb_kinds_builtin();
    struct kb_buf out = {0};
    kb_discovery_groups(kinds, &out);
    KB_CHECK(kb_str_starts(
        kb_buf_str(&out),
        "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"apps\","
        "\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],"
        "\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}},{"
        "\"name\":\"coordination.k8s.io\",\"versions\":[{\"groupVersion\":"
        "\"coordination.k8s.io/v1\",\"version\":\"v1\"}],\"preferredVersion\":{"
        "\"groupVersion\":\"coordination.k8s.io/v1\",\"version\":\"v1\"}},{\"name\":\"policy\""));
    kb_buf_clear(&out);
    KB_CHECK(kb_discovery_resources(kinds, kb_str_of("apps"), kb_str_of("v1"), &out) == 0);
    KB_AUTO(kb_doc_destroy) struct kb_doc *apps = parsed(&out);
    check_json(kb_doc_at(apps, "resources[0]"),
               "{\"name\":\"deployments\",\"singularName\":\"deployment\",\"namespaced\":true,"
               "\"kind\":\"Deployment\",\"verbs\":[\"create\",\"delete\",\"deletecollection\","
               "\"get\",\"list\",\"patch\",\"update\",\"watch\"],\"shortNames\":[\"deploy\"],"
               "\"categories\":[\"all\"]}");
    check_json(kb_doc_at(apps, "resources[2]"),
               "{\"name\":\"deployments/scale\",\"singularName\":\"\",\"namespaced\":true,"
               "\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\",\"verbs\":["
               "\"get\",\"patch\",\"update\"]}");
    KB_CHECK(kb_discovery_resources(kinds, kb_str_of("apps"), kb_str_of("v2"), &out) ==
             -KB_ENOTFOUND);
    KB_CHECK(kb_discovery_group(kinds, kb_str_of("no.example"), &out) == -KB_ENOTFOUND);
}

KB_TEST(discovery, aggregated)
{
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *kinds = kb_kinds_builtin();
    struct kb_buf out = {0};
    kb_discovery_aggregated(kinds, true, &out);
    KB_AUTO(kb_doc_destroy) struct kb_doc *core = parsed(&out);
    KB_CHECK_U64(kb_val_count(kb_doc_at(core, "items")), ==, 1);
    check_json(kb_doc_at(core, "items[0].versions[0].resources[0]"),
               "{\"resource\":\"bindings\",\"responseKind\":{\"group\":\"\",\"version\":\"v1\","
               "\"kind\":\"Binding\"},\"scope\":\"Namespaced\",\"singularResource\":\"binding\","
               "\"verbs\":[\"create\"]}");
    kb_discovery_aggregated(kinds, false, &out);
    KB_AUTO(kb_doc_destroy) struct kb_doc *rest = parsed(&out);
    KB_CHECK_U64(kb_val_count(kb_doc_at(rest, "items")), >=, 4);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(rest, "items[0].metadata.name")), "apps");
    check_json(kb_doc_at(rest, "items[0].versions[0].resources[1].subresources[0]"),
               "{\"subresource\":\"status\",\"responseKind\":{\"group\":\"apps\",\"version\":"
               "\"v1\",\"kind\":\"ReplicaSet\"},\"verbs\":[\"get\",\"patch\",\"update\"]}");
}

KB_TEST(columns, those_of_all_built_in_kinds_compile)
{
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *kinds = kb_kinds_builtin();
    for (size_t i = 0; i < kb_kinds_count(kinds); i++) {
        KB_AUTO(kb_columns_destroy) struct kb_columns *columns = NULL;
        KB_AUTO(kb_w_finish) struct kb_w w = {0};
        const struct kb_kind *kind = kb_kinds_index(kinds, i);
        struct kb_err err = {0};
        KB_CHECK_OK(kb_columns_new(kb_val_get(kind->source, "columns"), &columns, &err), &err);
        kb_columns_row(columns, (kb_val){0}, 0, &w); /* of nothing: no cell may fail */
        KB_CHECK_U64(kb_val_count(kb_w_val(&w)), ==, kb_columns_count(columns));
    }
}
