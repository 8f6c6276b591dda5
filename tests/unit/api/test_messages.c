/* What is wrong with a manifest, in the words of Kubernetes 1.32 (validation.go), from schema and
 * rules together: scripts and people look for these texts. */
#include "actors/api/logic/rules.h"
#include "bus/model/json.h"
#include "bus/model/kind.h"
#include "tests/lib/nodes.h"
#include "tests/lib/test.h"

struct message_case {
    const char *spec; /* JSON with ' for " */
    const char *want;
};

static struct kb_node *object_of(struct kb_arena *a, const char *spec)
{
    kb_str text = kb_arena_printf(a, "{\"spec\":{%s}}", spec);
    char *json = kb_arena_alloc(a, text.n + 1);
    for (size_t i = 0; i <= text.n; i++)
        json[i] = text.p[i] == '\'' ? '"' : text.p[i];
    return kb_test_node(a, json);
}

static void apply_rules(const char *resource, const struct kb_node *obj, struct kb_causes *causes)
{
    struct kb_at at = kb_at_field(NULL, "spec");
    if (strcmp(resource, "pods") == 0)
        kb_rules_pod_spec(kb_node_get(obj, "spec"), &at, false, causes);
    else if (strcmp(resource, "services") == 0)
        kb_rules_service(obj, NULL, causes);
    else if (strcmp(resource, "deployments.apps") == 0)
        kb_rules_workload(kb_str_of("Deployment"), obj, causes);
}

static void check(const char *resource, const struct message_case *cases, size_t n)
{
    static struct kb_kinds *kinds;
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    const struct kb_kind *kind = kb_kinds_by_resource(kinds, kb_str_of(resource));
    for (size_t i = 0; i < n; i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        struct kb_causes causes = {.arena = &a};
        struct kb_err err = {0};
        struct kb_node *obj = object_of(&a, cases[i].spec);
        KB_CHECK_OK(kb_schema_decode(kind->schema, &a, obj, NULL, &err), &err);
        kb_schema_default(kind->schema, &a, obj);
        kb_schema_validate(kind->schema, obj, NULL, &causes);
        apply_rules(resource, obj, &causes);
        kb_causes_text(&causes, &text);
        if (strcmp(text.p ? text.p : "", cases[i].want) != 0)
            kb_test_fail(__FILE__, __LINE__, "%s\ngives\n  %s\nnot\n  %s", cases[i].spec,
                         text.p ? text.p : "", cases[i].want);
    }
}

#define ONE     "'containers':[{'name':'c','image':'i'}]"
#define C(more) "'containers':[{'name':'c','image':'i'," more "}]"
#define LABEL_VALUE                                                                                \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "    \
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "             \
    "'my_value',  or '12345', regex used for validation is "                                       \
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

KB_TEST(messages, of_tolerations)
{
    static const struct message_case cases[] = {
        {ONE ",'tolerations':[{'operator':'Exists'},{'key':'k','value':'v','effect':'NoExecute',"
             "'tolerationSeconds':3}]",
         ""},
        {ONE ",'tolerations':[{'key':'k','operator':'Exists','value':'v'}]",
         "spec.tolerations[0].operator: Invalid value: \"v\": value must be empty when `operator` "
         "is 'Exists'"},
        {ONE ",'tolerations':[{'key':'k','value':'v v'}]",
         "spec.tolerations[0].operator: Invalid value: \"v v\": " LABEL_VALUE},
        {ONE ",'tolerations':[{'value':'v'}]",
         "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is "
         "empty, which means \"match all values and all keys\""},
        {ONE ",'tolerations':[{'key':'k','tolerationSeconds':3}]",
         "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when "
         "`tolerationSeconds` is set"},
        {ONE ",'tolerations':[{'key':'k','effect':'NoSchedule','tolerationSeconds':3}]",
         "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' "
         "when `tolerationSeconds` is set"},
        {ONE ",'tolerations':[{'key':'k','operator':'In','effect':'Never'}]",
         "[spec.tolerations[0].operator: Unsupported value: \"In\": supported values: \"Equal\", "
         "\"Exists\", spec.tolerations[0].effect: Unsupported value: \"Never\": supported "
         "values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"]"},
    };
    check("pods", cases, KB_COUNT(cases));
}

#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"
#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define NODES(expressions)                                                                         \
    ONE ",'affinity':{'nodeAffinity':{'" REQUIRED                                                  \
        "':{'nodeSelectorTerms':[{'matchExpressions':[" expressions "]}]}}}"
#define AT_NODES "spec.affinity.nodeAffinity." REQUIRED ".nodeSelectorTerms[0].matchExpressions[0]."

KB_TEST(messages, of_affinity)
{
    static const struct message_case cases[] = {
        {ONE ",'affinity':{'nodeAffinity':{'" PREFERRED "':[{'weight':101,'preference':{}},{}]}}",
         "[spec.affinity.nodeAffinity." PREFERRED "[0].weight: Invalid value: 101: must be in the "
         "range 1-100, spec.affinity.nodeAffinity." PREFERRED "[1].weight: Invalid value: 0: must "
         "be in the range 1-100]"},
        {ONE ",'affinity':{'podAntiAffinity':{'" PREFERRED "':[{'weight':5}]}}",
         "spec.affinity.podAntiAffinity." PREFERRED "[0].podAffinityTerm.topologyKey: Required "
         "value: can not be empty"},
        {ONE ",'affinity':{'nodeAffinity':{'" REQUIRED "':{}}}",
         "spec.affinity.nodeAffinity." REQUIRED ".nodeSelectorTerms: Required value: must have at "
         "least one node selector term"},
        {NODES("{'key':'a','operator':'Foo'}"),
         AT_NODES "operator: Invalid value: \"Foo\": not a valid selector operator"},
        {NODES("{'key':'a'}"), AT_NODES "operator: Invalid value: \"\": not a valid selector "
                                        "operator"},
        {NODES("{'key':'a','operator':'NotIn'}"),
         AT_NODES "values: Required value: must be specified when `operator` is 'In' or 'NotIn'"},
        {NODES("{'key':'a','operator':'Gt'}"),
         AT_NODES "values: Required value: must be specified single value when `operator` is 'Lt' "
                  "or 'Gt'"},
        {NODES("{'key':'a','operator':'Exists','values':['x']}"),
         AT_NODES "values: Forbidden: may not be specified when `operator` is 'Exists' or "
                  "'DoesNotExist'"},
    };
    check("pods", cases, KB_COUNT(cases));
}

#define SPREAD(more) ONE ",'topologySpreadConstraints':[" more "]"
#define AT_SPREAD    "spec.topologySpreadConstraints[0]."

KB_TEST(messages, of_spreading)
{
    static const struct message_case cases[] = {
        {SPREAD("{'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule'}"),
         AT_SPREAD "maxSkew: Invalid value: 0: must be greater than zero"},
        {SPREAD("{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'ScheduleAnyway',"
                "'minDomains':2}"),
         AT_SPREAD "minDomains: Invalid value: 2: can only use minDomains if "
                   "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"},
        {SPREAD("{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule'},"
                "{'maxSkew':2,'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule'}"),
         AT_SPREAD "{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\""},
        {SPREAD("{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'DoNotSchedule',"
                "'labelSelector':{'matchLabels':{'a':'b'}},'matchLabelKeys':['a']}"),
         AT_SPREAD "matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and "
                   "labelSelector"},
    };
    check("pods", cases, KB_COUNT(cases));
}

#define CONTAINER "spec.containers[0]."

KB_TEST(messages, of_containers)
{
    static const struct message_case cases[] = {
        {C("'ports':[{'containerPort':0},{'containerPort':1,'hostPort':-1}]"),
         "[" CONTAINER "ports[0].containerPort: Required value, " CONTAINER
         "ports[1].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive]"},
        {C("'livenessProbe':{'exec':{'command':['a']},'periodSeconds':-1,"
           "'terminationGracePeriodSeconds':0}"),
         "[" CONTAINER "livenessProbe.periodSeconds: Invalid value: -1: must be greater than or "
         "equal to 0, " CONTAINER "livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: "
         "must be greater than 0]"},
        {C("'lifecycle':{'preStop':{'sleep':{'seconds':31}}}"),
         CONTAINER "lifecycle.preStop.sleep: Invalid value: 31: must be greater than 0 and less "
                   "than terminationGracePeriodSeconds (30). Enable "
                   "AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."},
        {C("'env':[{'name':'a','valueFrom':{}},{'name':'b','valueFrom':{'fieldRef':{'fieldPath':"
           "'metadata.name'},'secretKeyRef':{'name':'s','key':'k'}}}]"),
         "[" CONTAINER "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, "
         "`resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`, " CONTAINER
         "env[1].valueFrom: Invalid value: \"\": may not have more than one field specified at a "
         "time]"},
        {C("'resources':{'limits':{'pods':'1'}}"),
         "[" CONTAINER "resources.limits[pods]: Invalid value: \"pods\": must be a standard "
         "resource for containers, " CONTAINER
         "resources.requests[pods]: Invalid value: \"pods\": must be a standard resource for "
         "containers]"},
        {C("'volumeMounts':[{'name':'v','mountPath':'/a','subPath':'x','subPathExpr':'y'},"
           "{'name':'v','mountPath':'/a'}]") ",'volumes':[{'name':'v','configMap':{'name':'m',"
                                             "'defaultMode':512}}]",
         "[spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 "
         "and 0777 (octal), both inclusive, " CONTAINER
         "volumeMounts[0].subPathExpr: Invalid value: \"y\": subPathExpr and subPath are mutually "
         "exclusive, " CONTAINER
         "volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique]"},
        {C("'securityContext':{'seccompProfile':{'type':'Localhost'}}"),
         CONTAINER "securityContext.seccompProfile.localhostProfile: Required value: must be set "
                   "when seccomp type is Localhost"},
        {C("'imagePullPolicy':'Sometimes'") ",'restartPolicy':'Maybe','dnsPolicy':'Own'",
         "[spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: "
         "\"Always\", \"IfNotPresent\", \"Never\", spec.restartPolicy: Unsupported value: "
         "\"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\", spec.dnsPolicy: "
         "Unsupported value: \"Own\": supported values: \"ClusterFirstWithHostNet\", "
         "\"ClusterFirst\", \"Default\", \"None\"]"},
    };
    check("pods", cases, KB_COUNT(cases));
}

#define TEMPLATE "'template':{'metadata':{'labels':{'b':'2','a':'1'}},'spec':{" ONE "}}"
#define NO_MATCH                                                                                   \
    "spec.template.metadata.labels: Invalid value: map[string]string{\"a\":\"1\", \"b\":\"2\"}: "  \
    "`selector` does not match template `labels`"

KB_TEST(messages, of_deployments)
{
    static const struct message_case cases[] = {
        {"'selector':{'matchLabels':{'c':'3'}}," TEMPLATE, NO_MATCH},
        {TEMPLATE, "[spec.selector: Required value, " NO_MATCH "]"},
        {"'selector':{}," TEMPLATE,
         "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
         "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for "
         "deployment"},
        {"'selector':{'matchLabels':{'a':'1'}}",
         "[spec.template.spec.containers: Required value, spec.template.metadata.labels: Invalid "
         "value: map[string]string(nil): `selector` does not match template `labels`]"},
        {"'selector':{'matchLabels':{'a':'1'}},'strategy':{'type':'Recreate','rollingUpdate':"
         "{'maxSurge':1}}," TEMPLATE,
         "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is "
         "'Recreate'"},
        {"'selector':{'matchExpressions':[{'key':'a','operator':'Is'}]}," TEMPLATE,
         "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector "
         "operator"},
    };
    check("deployments.apps", cases, KB_COUNT(cases));
}

KB_TEST(messages, of_services)
{
    static const struct message_case cases[] = {
        {"'type':'ExternalName'", "spec.externalName: Required value"},
        {"'ports':[{}]", "[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, "
                         "inclusive, spec.ports[0].targetPort: Invalid value: 0: must be between 1 "
                         "and 65535, inclusive]"},
        {"'type':'LoadBalancer','clusterIP':'None','ports':[{'port':1}]",
         "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer "
         "services"},
    };
    check("services", cases, KB_COUNT(cases));
}

KB_TEST(messages, a_selector_is_shown_as_go_shows_it)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_go_selector(kb_test_node(&a, "{\"matchLabels\":{\"z\":\"1\",\"a\":\"2\"},"
                                    "\"matchExpressions\":[{\"key\":\"k\",\"operator\":\"In\","
                                    "\"values\":[\"x\",\"y\"]},{\"key\":\"l\",\"operator\":"
                                    "\"Exists\"}]}"),
                   &text);
    KB_CHECK_STR(text.p, "v1.LabelSelector{MatchLabels:map[string]string{\"a\":\"2\", \"z\":\"1\"},"
                         " MatchExpressions:[]v1.LabelSelectorRequirement{"
                         "v1.LabelSelectorRequirement{Key:\"k\", Operator:\"In\", "
                         "Values:[]string{\"x\", \"y\"}}, v1.LabelSelectorRequirement{Key:\"l\", "
                         "Operator:\"Exists\", Values:[]string(nil)}}}");
}

/* JSON has no key twice when it is read; what came over the bus may. */
KB_TEST(messages, labels_with_a_key_twice_are_shown_once)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "a", "1");
    kb_w_kcstr(&w, "a", "2");
    kb_w_end(&w);
    kb_go_labels(kb_node_of(&a, kb_w_val(&w)), &text);
    KB_CHECK_STR(text.p, "map[string]string{\"a\":\"1\"}");
}
