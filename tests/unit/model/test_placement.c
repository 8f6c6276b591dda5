/* Node selectors, affinity and tolerations of one pod against one node, case by case. */
#include "bus/model/json.h"
#include "bus/model/placement.h"
#include "tests/lib/test.h"

#include <stdarg.h>

/* ' stands for ". */
static struct kb_doc *json(const char *format, ...)
{
    char text[1024];
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return doc;
}

static const char node_json[] =
    "{'metadata': {'name': 'n1', 'labels': {'zone': 'a', 'cores': '8', 'empty': '', 'word': 'x'}}}";

static bool matches(const char *spec)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *node = json(node_json), *doc = json("%s", spec);
    return kb_node_affinity_match(kb_doc_root(doc), kb_doc_root(node));
}

#define TERMS(terms)                                                                               \
    "{'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': "            \
    "{'nodeSelectorTerms': [" terms "]}}}}"
#define LABEL(key, op, values)                                                                     \
    "{'matchExpressions': [{'key': '" key "', 'operator': '" op "', 'values': [" values "]}]}"
#define FIELD(key, op, values)                                                                     \
    "{'matchFields': [{'key': '" key "', 'operator': '" op "', 'values': [" values "]}]}"

KB_TEST(placement, a_requirement_on_a_label_is_true_or_not)
{
    static const struct {
        const char *spec;
        bool matches;
    } cases[] = {
        {TERMS(LABEL("zone", "In", "'b', 'a'")), true},
        {TERMS(LABEL("zone", "In", "'b'")), false},
        {TERMS(LABEL("none", "In", "'a'")), false},
        {TERMS(LABEL("empty", "In", "''")), true},
        {TERMS(LABEL("zone", "NotIn", "'b'")), true},
        {TERMS(LABEL("zone", "NotIn", "'a', 'b'")), false},
        {TERMS(LABEL("none", "NotIn", "'a'")), true},
        {TERMS(LABEL("empty", "Exists", "")), true},
        {TERMS(LABEL("none", "Exists", "")), false},
        {TERMS(LABEL("none", "DoesNotExist", "")), true},
        {TERMS(LABEL("zone", "DoesNotExist", "")), false},
        {TERMS(LABEL("cores", "Gt", "'7'")), true},
        {TERMS(LABEL("cores", "Gt", "'8'")), false},
        {TERMS(LABEL("cores", "Lt", "'9'")), true},
        {TERMS(LABEL("cores", "Lt", "'8'")), false},
        {TERMS(LABEL("word", "Gt", "'1'")), false},
        {TERMS(LABEL("none", "Lt", "'1'")), false},
        /* malformed: true of no node */
        {TERMS(LABEL("cores", "Gt", "'x'")), false},
        {TERMS(LABEL("cores", "Gt", "'1', '2'")), false},
        {TERMS(LABEL("zone", "Like", "'a'")), false},
        {TERMS(LABEL("zone", "NotIn", "")), false},
        {TERMS(LABEL("zone", "Exists", "'a'")), false},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        if (matches(cases[i].spec) != cases[i].matches)
            kb_test_fail(__FILE__, __LINE__, "%s", cases[i].spec);
}

KB_TEST(placement, terms_fields_and_the_node_selector_are_joined)
{
    static const struct {
        const char *spec;
        bool matches;
    } cases[] = {
        {"{}", true},
        {"{'nodeSelector': {}}", true},
        {"{'nodeSelector': {'zone': 'a', 'empty': ''}}", true},
        {"{'nodeSelector': {'zone': 'a', 'word': 'y'}}", false},
        {"{'nodeSelector': {'none': ''}}", false},
        {"{'affinity': {'nodeAffinity': {}}}", true},
        /* one term that is true is enough; none at all is none that is true */
        {TERMS(LABEL("zone", "In", "'b'") "," LABEL("word", "In", "'x'")), true},
        {TERMS(LABEL("zone", "In", "'b'") "," LABEL("word", "In", "'y'")), false},
        {TERMS(""), false},
        {TERMS("{}"), false},
        {TERMS("{}," LABEL("zone", "In", "'a'")), true},
        {TERMS(LABEL("zone", "Like", "'a'") "," LABEL("zone", "In", "'a'")), true},
        /* all of a term must be true */
        {TERMS("{'matchExpressions': [{'key': 'zone', 'operator': 'In', 'values': ['a']}, "
               "{'key': 'word', 'operator': 'DoesNotExist'}]}"),
         false},
        {TERMS(FIELD("metadata.name", "In", "'n1'")), true},
        {TERMS(FIELD("metadata.name", "In", "'n2'")), false},
        {TERMS(FIELD("metadata.name", "NotIn", "'n2'")), true},
        {TERMS(FIELD("metadata.name", "NotIn", "'n1'")), false},
        {TERMS(FIELD("metadata.name", "Exists", "")), false},
        {TERMS(FIELD("metadata.uid", "NotIn", "'x'")), false},
        {TERMS("{'matchExpressions': [{'key': 'zone', 'operator': 'In', 'values': ['b']}], "
               "'matchFields': [{'key': 'metadata.name', 'operator': 'In', 'values': ['n1']}]}"),
         false},
        {"{'nodeSelector': {'zone': 'b'}, " /* as well as affinity */
         "'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': "
         "{'nodeSelectorTerms': [" LABEL("zone", "In", "'a'") "]}}}}",
         false},
        {"{'affinity': {'nodeAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': "
         "[{'weight': 1, 'preference': " LABEL("zone", "In", "'b'") "}]}}}",
         true},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        if (matches(cases[i].spec) != cases[i].matches)
            kb_test_fail(__FILE__, __LINE__, "%s", cases[i].spec);
}

KB_TEST(placement, host_ports_are_those_of_what_runs_together)
{
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *doc =
        json("{'containers': [{}, {'ports': [{'containerPort': 1}, {'hostPort': 80}, "
             "{'hostPort': 70000}, {'hostPort': 53, 'protocol': 'UDP', 'hostIP': '0.0.0.0'}]}], "
             "'initContainers': [{'ports': [{'hostPort': 81}]}, {'restartPolicy': 'Always', "
             "'ports': [{'hostPort': 82, 'hostIP': '192.0.2.1'}]}]}");
    static const struct {
        int port;
        const char *protocol, *ip;
    } want[] = {{80, "TCP", ""}, {53, "UDP", ""}, {82, "TCP", "192.0.2.1"}};
    struct kb_host_port port;
    size_t n = 0;
    for (struct kb_host_ports it = kb_host_ports(kb_doc_root(doc)); kb_host_port_next(&it, &port);
         n++) {
        KB_CHECK(n < KB_COUNT(want));
        KB_CHECK_I64(port.port, ==, want[n].port);
        KB_CHECK_STRN(port.protocol, want[n].protocol);
        KB_CHECK_STRN(port.ip, want[n].ip);
    }
    KB_CHECK_U64(n, ==, KB_COUNT(want));
}

KB_TEST(placement, a_toleration_fits_by_effect_key_and_value)
{
    static const struct {
        const char *toleration;
        bool fits; /* the taint k=v:NoExecute */
    } cases[] = {
        {"{'operator': 'Exists'}", true},
        {"{'key': 'k', 'operator': 'Exists', 'effect': 'NoExecute'}", true},
        {"{'key': 'k', 'operator': 'Exists', 'effect': 'NoSchedule'}", false},
        {"{'key': 'x', 'operator': 'Exists'}", false},
        {"{'key': 'k', 'operator': 'Equal', 'value': 'v'}", true},
        {"{'key': 'k', 'value': 'v', 'tolerationSeconds': 5}", true},
        {"{'key': 'k', 'value': 'w'}", false},
        {"{'key': 'k'}", false},
        {"{'key': 'k', 'operator': 'Like', 'value': 'v'}", false},
    };
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *taints = json("[{'key': 'other', 'effect': 'NoSchedule'}, "
                                 "{'key': 'k', 'value': 'v', 'effect': 'NoExecute'}]");
    kb_val second = kb_val_index(kb_doc_root(taints), 1);
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *list = json("[%s]", cases[i].toleration);
        kb_val untolerated =
            kb_taint_untolerated(kb_doc_root(taints), "NoExecute", kb_doc_root(list));
        KB_CHECK(kb_toleration_match(kb_val_index(kb_doc_root(list), 0), second) == cases[i].fits);
        KB_CHECK((untolerated.p == NULL) == cases[i].fits);
    }
    KB_CHECK(kb_taint_untolerated(kb_doc_root(taints), "NoExecute", (kb_val){0}).p == second.p);
    KB_CHECK(kb_taint_untolerated((kb_val){0}, "NoExecute", (kb_val){0}).p == NULL);
}
