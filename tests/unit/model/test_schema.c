#include "bus/base/clock.h"
#include "bus/model/json.h"
#include "bus/model/kind.h"
#include "tests/lib/nodes.h"
#include "tests/lib/test.h"

#include <stdlib.h>

/* One registry for the program: building it is a test of its own. */
static const struct kb_kinds *kinds(void)
{
    static struct kb_kinds *all;
    if (all == NULL)
        all = kb_kinds_builtin();
    return all;
}

static const struct kb_kind *kind_of(const char *resource)
{
    const struct kb_kind *kind = kb_kinds_by_resource(kinds(), kb_str_of(resource));
    KB_CHECK(kind != NULL);
    return kind;
}

KB_TEST(kinds, all_built_in_kinds_compile_and_are_found_by_every_name)
{
    const struct kb_clock *clock = kb_clock_system();
    int64_t start = kb_clock_wall_us(clock);
    const struct kb_kind *deployment = kind_of("deployments.apps");
    printf("kinds: %zu in %lld us\n", kb_kinds_count(kinds()),
           (long long)(kb_clock_wall_us(clock) - start));
    KB_CHECK(kb_kinds_by_plural(kinds(), kb_str_of("apps"), kb_str_of("v1"),
                                kb_str_of("deployments")) == deployment);
    KB_CHECK(kb_kinds_by_kind(kinds(), kb_str_of("apps/v1"), kb_str_of("Deployment")) ==
             deployment);
    KB_CHECK(kb_kinds_by_kind(kinds(), kb_str_of("v1"), kb_str_of("Deployment")) == NULL);
    KB_CHECK(deployment->status_split && deployment->generation && deployment->namespaced);
    KB_CHECK_STRN(deployment->scale_spec, "spec.replicas");
    KB_CHECK_STRN(deployment->immutable.items[0], "spec.selector");
    KB_CHECK(kb_kind_subresource(deployment, kb_str_of("scale")) != NULL);
    KB_CHECK_STRN(kb_schema_name(kb_schema_at(deployment->schema, "spec.template.spec")),
                  "PodSpec");
    kb_str key;
    const struct kb_schema *containers =
        kb_schema_at(deployment->schema, "spec.template.spec.containers");
    KB_CHECK_U64(kb_schema_patch(containers, &key), ==, KB_PATCH_MERGE);
    KB_CHECK_STRN(key, "name");
}

struct decode_case {
    const char *resource, *in, *out, *error, *unknown;
};

KB_TEST(schema, decoding_prunes_and_refuses_as_kubernetes_does)
{
    static const struct decode_case cases[] = {
        {"pods",
         "{\"metadata\":{\"labels\":{},\"finalizers\":[],\"name\":\"p\"},\"spec\":{\"volumes\":[{"
         "\"emptyDir\":{}}]}}",
         "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"volumes\":[{\"emptyDir\":{}}]}}", NULL, NULL},
        {"namespaces", "{\"spec\":{\"finalizers\":[]}}", "{\"spec\":{\"finalizers\":[]}}", NULL,
         NULL},
        {"deployments.apps", "{\"spec\":{\"replicas\":\"3\"}}", NULL,
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type "
         "int32",
         NULL},
        {"deployments.apps", "{\"spec\":{\"replicas\":3.0,\"foo\":1,\"paused\":null}}",
         "{\"spec\":{\"replicas\":3}}", NULL, "spec.foo"},
        {"pods", "{\"spec\":{\"containers\":[{\"name\":\"a\",\"nmae\":1}]},\"x\":{}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}", NULL, "spec.containers[0].nmae,x"},
        {"pods", "{\"spec\":{\"containers\":{}}}", NULL,
         "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
         "[]v1.Container",
         NULL},
        {"pods",
         "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":1,\"memory\":"
         "\"1024Mi\"}}}]}}",
         "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}"
         "}]}}",
         NULL, NULL},
        {"pods", "{\"metadata\":{\"creationTimestamp\":\"2024-01-02T03:04:05.5+01:00\"}}",
         "{\"metadata\":{\"creationTimestamp\":\"2024-01-02T02:04:05Z\"}}", NULL, NULL},
        {"deployments.apps", "{\"spec\":{\"replicas\":99999999999}}", NULL,
         "json: cannot unmarshal number 99999999999 into Go struct field "
         "DeploymentSpec.spec.replicas of type int32",
         NULL},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf unknown = {0};
        struct kb_unknowns unknowns = {.arena = &a};
        struct kb_err err = {0};
        struct kb_node *node = kb_test_node(&a, cases[i].in);
        int rc = kb_schema_decode(kind_of(cases[i].resource)->schema, &a, node, &unknowns, &err);
        if (cases[i].error) {
            KB_CHECK_I64(rc, ==, -KB_EINVAL);
            KB_CHECK_STR(err.text, cases[i].error);
            continue;
        }
        KB_CHECK_OK(rc, &err);
        KB_CHECK_STR(kb_test_node_text(&a, node), cases[i].out);
        for (size_t u = 0; u < unknowns.count; u++)
            kb_buf_printf(&unknown, "%s" KB_STR_FMT, u ? "," : "", KB_STR_ARG(unknowns.paths[u]));
        KB_CHECK_STR(unknown.n ? unknown.p : "", cases[i].unknown ? cases[i].unknown : "");
    }
}

KB_TEST(schema, defaults_of_a_pod_are_those_of_kubernetes)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *pod = kb_test_node(
        &a, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"nginx\",\"ports\":[{"
            "\"containerPort\":80}],\"resources\":{\"limits\":{\"cpu\":\"1\"}},"
            "\"livenessProbe\":{\"httpGet\":{\"port\":80}}}],"
            "\"volumes\":[{\"name\":\"v\"}]}}");
    kb_schema_default(kind_of("pods")->schema, &a, pod);
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.restartPolicy"), "Always");
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.dnsPolicy"), "ClusterFirst");
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.schedulerName"), "default-scheduler");
    KB_CHECK_I64(kb_node_num(kb_node_at(pod, "spec.terminationGracePeriodSeconds"), 0), ==, 30);
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.containers[0].imagePullPolicy"), "Always");
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.containers[0].ports[0].protocol"), "TCP");
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.containers[0].resources.requests.cpu"), "1");
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.containers[0].livenessProbe.httpGet.path"), "/");
    KB_CHECK_STRN(kb_node_text_at(pod, "spec.containers[0].livenessProbe.httpGet.scheme"), "HTTP");
    KB_CHECK_I64(kb_node_num(kb_node_at(pod, "spec.containers[0].livenessProbe.periodSeconds"), 0),
                 ==, 10);
    KB_CHECK(kb_node_at(pod, "spec.volumes[0].emptyDir") != NULL);
    KB_CHECK(kb_node_at(pod, "spec.securityContext") != NULL);
    const char *once = kb_test_node_text(&a, pod);
    kb_schema_default(kind_of("pods")->schema, &a, pod);
    KB_CHECK_STR(kb_test_node_text(&a, pod), once);
}

struct validate_case {
    const char *resource, *in, *errors;
};

KB_TEST(schema, validation_speaks_as_kubernetes_does)
{
    static const struct validate_case cases[] = {
        {"deployments.apps",
         "{\"spec\":{\"replicas\":-1,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{}}"
         "}",
         "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, "
         "spec.template.spec.containers: Required value]"},
        {"pods",
         "{\"spec\":{\"restartPolicy\":\"Nope\",\"containers\":[{\"name\":\"a\",\"image\":\"x\"},{"
         "\"name\":\"a\",\"image\":\"x\"}]}}",
         "[spec.restartPolicy: Unsupported value: \"Nope\": supported values: \"Always\", "
         "\"OnFailure\", "
         "\"Never\", spec.containers[1].name: Duplicate value: \"a\"]"},
        {"pods",
         "{\"metadata\":{\"labels\":{\"a b\":\"ok\",\"c\":\"-\"}},\"spec\":{\"containers\":[{"
         "\"name\":\"a\",\"image\":\"x\"}]}}",
         "[metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric "
         "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
         "'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
         "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), metadata.labels: Invalid value: \"-\": a "
         "valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
         "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
         "'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')]"},
        {"configmaps", "{\"data\":{\"a/b\":\"c\"}}",
         "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric "
         "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used "
         "for validation is '[-._a-zA-Z0-9]+')"},
        {"services", "{\"spec\":{\"ports\":[{\"port\":0,\"protocol\":\"TCP\"}]}}",
         "[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
         "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive]"},
        {"deployments.apps",
         "{\"spec\":{\"selector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"},{"
         "\"key\":\"b\",\"operator\":\"Exists\",\"values\":[\"x\"]}]},\"template\":{\"spec\":{"
         "\"containers\":[{\"name\":\"a\"}]}}}}",
         "[spec.selector.matchExpressions[0].values: Required value: must be specified when "
         "`operator` is 'In' or 'NotIn', spec.selector.matchExpressions[1].values: Forbidden: may "
         "not be specified when `operator` is 'Exists' or 'DoesNotExist']"},
        {"configmaps", "{\"data\":{\"a\":\"c\"}}", ""},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        struct kb_causes causes = {.arena = &a};
        struct kb_node *node = kb_test_node(&a, cases[i].in);
        const struct kb_schema *schema = kind_of(cases[i].resource)->schema;
        kb_schema_default(schema, &a, node);
        kb_schema_validate(schema, node, NULL, &causes);
        kb_causes_text(&causes, &text);
        KB_CHECK_STR(text.n ? text.p : "", cases[i].errors);
    }
}

/* ---- user-defined kinds ---- */

static const char widget[] =
    "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"size\"],"
    "\"properties\":{"
    "\"size\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},"
    "\"color\":{\"type\":\"string\",\"enum\":[\"red\",\"blue\"],\"default\":\"red\"},"
    "\"code\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":5},"
    "\"note\":{\"type\":\"string\",\"nullable\":true},"
    "\"any\":{\"x-kubernetes-preserve-unknown-fields\":true,\"type\":\"object\"},"
    "\"port\":{\"x-kubernetes-int-or-string\":true},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":2,"
    "\"x-kubernetes-list-type\":\"set\"},"
    "\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
    "\"x-kubernetes-list-map-keys\":[\"name\"],\"items\":{\"type\":\"object\",\"properties\":{"
    "\"name\":{\"type\":\"string\"}}}}}}}}";

struct custom_case {
    const char *in, *out, *errors;
};

KB_TEST(schema, user_defined_kinds_follow_the_rules_of_structural_schemas)
{
    static const struct custom_case cases[] = {
        {"{\"spec\":{\"size\":3}}", "{\"spec\":{\"color\":\"red\",\"size\":3}}", ""},
        {"{\"spec\":{\"size\":3,\"color\":null,\"note\":null,\"foo\":1}}",
         "{\"spec\":{\"color\":\"red\",\"note\":null,\"size\":3}}", ""},
        {"{\"spec\":{\"size\":3,\"any\":{\"x\":{\"y\":1}},\"port\":\"http\"}}",
         "{\"spec\":{\"any\":{\"x\":{\"y\":1}},\"color\":\"red\",\"port\":\"http\",\"size\":3}}",
         ""},
        {"{\"spec\":{}}", NULL, "spec.size: Required value"},
        {"{\"spec\":{\"size\":\"big\"}}", NULL,
         "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: "
         "\"string\""},
        {"{\"spec\":{\"size\":11}}", NULL,
         "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"},
        {"{\"spec\":{\"size\":0}}", NULL,
         "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"},
        {"{\"spec\":{\"size\":1,\"color\":\"\"}}", NULL,
         "spec.color: Unsupported value: \"\": supported values: \"red\", \"blue\""},
        {"{\"spec\":{\"size\":1,\"code\":\"abc1\"}}", NULL,
         "spec.code: Invalid value: \"abc1\": spec.code in body should match '^[a-z]+$'"},
        {"{\"spec\":{\"size\":1,\"code\":\"abcdef\"}}", NULL,
         "spec.code: Too long: may not be more than 5 bytes"},
        {"{\"spec\":{\"size\":1,\"tags\":[\"a\",\"a\"]}}", NULL,
         "spec.tags[1]: Duplicate value: \"a\""},
        {"{\"spec\":{\"size\":1,\"tags\":[\"a\",\"b\",\"c\"]}}", NULL,
         "spec.tags: Too many: 3: must have at most 2 items"},
        {"{\"spec\":{\"size\":1,\"items\":[{\"name\":\"a\"},{\"name\":\"a\"}]}}", NULL,
         "spec.items[1].name: Duplicate value: \"a\""},
        {"{\"spec\":{\"size\":null}}", NULL,
         "[spec.size: Required value, spec.size: Invalid value: \"null\": spec.size in body must "
         "be "
         "of type integer: \"null\"]"},
    };
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *registry = kb_kinds_new();
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    const struct kb_schema *schema;
    KB_CHECK_OK(kb_json_doc(kb_str_of(widget), &doc, &err), &err);
    KB_CHECK_OK(kb_kinds_compile(registry, kb_doc_root(doc), &schema, &err), &err);
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        struct kb_causes causes = {.arena = &a};
        struct kb_node *node = kb_test_node(&a, cases[i].in);
        KB_CHECK_OK(kb_schema_decode(schema, &a, node, NULL, &err), &err);
        kb_schema_default(schema, &a, node);
        kb_schema_validate(schema, node, NULL, &causes);
        kb_causes_text(&causes, &text);
        KB_CHECK_STR(text.n ? text.p : "", cases[i].errors);
        if (cases[i].out)
            KB_CHECK_STR(kb_test_node_text(&a, node), cases[i].out);
    }
}

KB_TEST(schema, what_does_not_compile_says_why)
{
    static const struct {
        const char *schema, *error;
    } cases[] = {
        {"{\"type\":\"thing\"}", "unknown type 'thing'"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"Nope\"}}}",
         "property a: no definition named Nope"},
        {"{\"type\":\"string\",\"pattern\":\"(\"}", "pattern '(' is no regular expression"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_kinds_destroy) struct kb_kinds *registry = kb_kinds_new();
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
        struct kb_err err = {0};
        const struct kb_schema *schema;
        KB_CHECK_OK(kb_json_doc(kb_str_of(cases[i].schema), &doc, &err), &err);
        KB_CHECK_I64(kb_kinds_compile(registry, kb_doc_root(doc), &schema, &err), ==, -KB_EINVAL);
        KB_CHECK_STR(err.text, cases[i].error);
    }
}

/* Every kind's smallest object: decoding what was made of it changes nothing more. */
KB_TEST(schema, what_was_decoded_and_defaulted_stays_as_it_is)
{
    for (size_t i = 0; i < kb_kinds_count(kinds()); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_err err = {0};
        const struct kb_schema *schema = kb_kinds_index(kinds(), i)->schema;
        struct kb_node *node = kb_test_node(&a, "{\"metadata\":{\"name\":\"x\"},\"spec\":{}}");
        kb_schema_decode(schema, &a, node, NULL, &err);
        kb_schema_default(schema, &a, node);
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(node);
        struct kb_node *again = kb_node_of(&a, kb_doc_root(doc));
        KB_CHECK_OK(kb_schema_decode(schema, &a, again, NULL, &err), &err);
        kb_schema_default(schema, &a, again);
        KB_AUTO(kb_doc_destroy) struct kb_doc *twice = kb_node_doc(again);
        KB_CHECK(kb_val_equal(kb_doc_root(doc), kb_doc_root(twice)));
    }
}

KB_TEST(schema, duplicates_are_found_in_short_and_long_lists)
{
    static const int lengths[] = {3, 24, 25, 400};
    for (size_t l = 0; l < KB_COUNT(lengths); l++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        struct kb_causes causes = {.arena = &a};
        struct kb_node *service = kb_test_node(&a, "{\"spec\":{\"ports\":[]}}");
        struct kb_node *ports = kb_node_at(service, "spec.ports");
        for (int i = 0; i < lengths[l]; i++) {
            struct kb_node *port = kb_node_map(&a);
            kb_node_put(&a, port, "port", kb_node_int(&a, i == 2 ? 1 : i + 1));
            kb_node_put(&a, port, "protocol", kb_node_cstr(&a, "TCP"));
            kb_node_append(&a, ports, port);
        }
        kb_schema_validate(kind_of("services")->schema, service, NULL, &causes);
        kb_causes_text(&causes, &text);
        KB_CHECK_STR(text.p, "spec.ports[2]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}");
    }
}
