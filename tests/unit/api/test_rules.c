/* Rules over several fields: what Kubernetes says of objects that no schema can refuse. */
#include "actors/api/logic/rules.h"
#include "bus/model/json.h"
#include "bus/model/kind.h"
#include "tests/lib/nodes.h"
#include "tests/lib/test.h"

static void default_as(struct kb_arena *a, const char *resource, struct kb_node *obj)
{
    static struct kb_kinds *kinds;
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    const struct kb_kind *kind = kb_kinds_by_resource(kinds, kb_str_of(resource));
    struct kb_err err = {0};
    KB_CHECK_OK(kb_schema_decode(kind->schema, a, obj, NULL, &err), &err);
    kb_schema_default(kind->schema, a, obj);
}

static void check_causes(struct kb_causes *causes, const char *want, const char *of)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_causes_text(causes, &text);
    const char *have = text.p ? text.p : "";
    if (strcmp(have, want) != 0)
        kb_test_fail(__FILE__, __LINE__, "%s\ngives\n  %s\nnot\n  %s", of, have, want);
}

struct pod_case {
    const char *spec, *want;
};

/* What is wrong with pods of these specs, each with `{` and `}` put around. */
static void check_pods(const struct pod_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_causes causes = {.arena = &a};
        struct kb_at at = kb_at_field(NULL, "spec");
        kb_str json = kb_arena_printf(&a, "{\"spec\":{%s}}", cases[i].spec);
        struct kb_node *pod = kb_test_node(&a, json.p);
        default_as(&a, "pods", pod);
        kb_rules_pod_default(&a, kb_node_get(pod, "spec"));
        kb_rules_pod_spec(kb_node_get(pod, "spec"), &at, false, &causes);
        check_causes(&causes, cases[i].want, cases[i].spec);
    }
}

#define C(more) "\"containers\":[{\"name\":\"c\",\"image\":\"i\"" more "}]"

KB_TEST(rules, a_plain_pod_is_fine)
{
    static const struct pod_case cases[] = {
        {C(""), ""},
        {C(",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]") ",\"volumes\":[{\"name\":"
                                                                        "\"v\"}]",
         ""},
        {"\"hostNetwork\":true," C(",\"ports\":[{\"containerPort\":80}]"), ""},
        {C(",\"resources\":{\"requests\":{\"cpu\":\"100m\"},\"limits\":{\"cpu\":\"0.1\"}}"), ""},
    };
    check_pods(cases, KB_COUNT(cases));
}

KB_TEST(rules, containers)
{
    static const struct pod_case cases[] = {
        {"\"containers\":[{\"name\":\"c\"}]", "spec.containers[0].image: Required value"},
        {C(",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]"),
         "spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
        {C(",\"restartPolicy\":\"Always\""),
         "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"},
        {C(",\"livenessProbe\":{\"exec\":{\"command\":[\"x\"]},\"successThreshold\":2}"),
         "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"},
        {C(",\"ports\":[{\"name\":\"p\",\"containerPort\":1},{\"name\":\"p\",\"containerPort\":"
           "2}]"),
         "spec.containers[0].ports[1].name: Duplicate value: \"p\""},
        {C("") ",\"initContainers\":[{\"name\":\"c\",\"image\":\"i\"}]",
         "spec.initContainers[0].name: Duplicate value: \"c\""},
        {C("") ",\"initContainers\":[{\"name\":\"d\",\"image\":\"i\",\"lifecycle\":{}}]", ""},
        {C("") ",\"initContainers\":[{\"name\":\"d\",\"image\":\"i\",\"readinessProbe\":{\"exec\":"
               "{\"command\":[\"x\"]}}}]",
         "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers "
         "without restartPolicy=Always"},
        {C(",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.x\"}}}]"),
         "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\": "
         "supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", "
         "\"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", "
         "\"status.podIP\", \"status.podIPs\""},
        {C(",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
           "\"metadata.labels['a/b']\"}}}]"),
         ""},
    };
    check_pods(cases, KB_COUNT(cases));
}

KB_TEST(rules, resources)
{
    static const struct pod_case cases[] = {
        {C(",\"resources\":{\"requests\":{\"cpu\":\"2\"},\"limits\":{\"cpu\":\"1\"}}"),
         "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal "
         "to cpu limit of 1"},
        {C(",\"resources\":{\"limits\":{\"memory\":\"-1\"}}"),
         "[spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be greater "
         "than or equal to 0, spec.containers[0].resources.requests[memory]: Invalid value: "
         "\"-1\": must be greater than or equal to 0]"},
        {C(",\"resources\":{\"requests\":{\"a.b/gpu\":\"1\"}}"),
         "spec.containers[0].resources.limits: Required value: Limit must be set for non "
         "overcommitable resources"},
    };
    check_pods(cases, KB_COUNT(cases));
}

KB_TEST(rules, whole_pods)
{
    static const struct pod_case cases[] = {
        {"\"hostNetwork\":true," C(",\"ports\":[{\"containerPort\":80,\"hostPort\":81}]"),
         "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when "
         "`hostNetwork` is true"},
        {C(",\"ports\":[{\"containerPort\":80,\"hostPort\":80},{\"containerPort\":81,"
           "\"hostPort\":80}]"),
         "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\""},
        {"\"dnsPolicy\":\"None\"," C(""),
         "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
        {"\"tolerations\":[{\"operator\":\"Equal\"}]," C(""),
         "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when "
         "`key` is empty, which means \"match all values and all keys\""},
        {"\"nodeName\":\"n\",\"schedulingGates\":[{\"name\":\"g\"}]," C(""),
         "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"},
        {"\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
         "\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"x\",\"operator\":\"In\",\"values\":["
         "\"n\"]}]}]}}}," C(""),
         "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
         "nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"x\": not a valid field "
         "selector key"},
        {"\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"c\","
         "\"items\":[{\"key\":\"k\",\"path\":\"p\"}]}},{\"secret\":{\"name\":\"s\",\"items\":[{"
         "\"key\":\"k\",\"path\":\"p\"}]}}]}}]," C(""),
         "spec.volumes[0].projected.sources[1].secret.items[0].path: Invalid value: \"p\": "
         "conflicting duplicate paths"},
    };
    check_pods(cases, KB_COUNT(cases));
}

KB_TEST(rules, quality_of_service)
{
    static const struct {
        const char *containers, *want;
    } cases[] = {
        {"[{}]", "BestEffort"},
        {"[{\"resources\":{\"requests\":{\"cpu\":\"0\"}}}]", "BestEffort"},
        {"[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]", "Burstable"},
        {"[{\"resources\":{\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"limits\":{\"cpu\":"
         "\"1\",\"memory\":\"1Gi\"}}}]",
         "Guaranteed"},
        {"[{\"resources\":{\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"limits\":{\"cpu\":"
         "\"1\",\"memory\":\"1Gi\"}}},{}]",
         "Burstable"},
        {"[{\"resources\":{\"requests\":{\"a.b/c\":\"1\"},\"limits\":{\"a.b/c\":\"1\"}}}]",
         "BestEffort"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        kb_str json = kb_arena_printf(&a, "{\"containers\":%s}", cases[i].containers);
        KB_CHECK_STR(kb_rules_pod_qos(kb_test_node(&a, json.p)), cases[i].want);
    }
}

static void check_update(const char *old_spec, const char *new_spec, const char *want)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a};
    const struct kb_node *was =
        kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", old_spec).p);
    const struct kb_node *is = kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", new_spec).p);
    kb_rules_pod_update(was, is, &causes);
    check_causes(&causes, want, new_spec);
}

static void check_ephemeral(const char *before, const char *after, const char *want)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a};
    kb_rules_pod_ephemeral(kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", before).p),
                           kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", after).p),
                           &causes);
    check_causes(&causes, want, after);
}

KB_TEST(rules, updates_of_pods)
{
    check_update("\"activeDeadlineSeconds\":5", "\"activeDeadlineSeconds\":4", "");
    check_update("\"activeDeadlineSeconds\":5", "\"activeDeadlineSeconds\":6",
                 "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to "
                 "previous value");
    check_update("\"tolerations\":[{\"key\":\"a\",\"tolerationSeconds\":1}]",
                 "\"tolerations\":[{\"key\":\"b\"},{\"key\":\"a\",\"tolerationSeconds\":2}]", "");
    check_update("\"tolerations\":[{\"key\":\"a\"}]", "\"tolerations\":[{\"key\":\"b\"}]",
                 "spec.tolerations: Forbidden: existing toleration can not be modified except its "
                 "tolerationSeconds");
    check_update("\"schedulingGates\":[{\"name\":\"a\"}]", "\"schedulingGates\":[{\"name\":\"b\"}]",
                 "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new "
                 "scheduling gate 'b'");
    check_ephemeral("", "\"ephemeralContainers\":[{\"name\":\"a\"}]", "");
    check_ephemeral(
        "\"ephemeralContainers\":[{\"name\":\"a\"}]",
        "\"ephemeralContainers\":[{\"name\":\"b\"},{\"name\":\"a\",\"image\":\"x\"}]",
        "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not "
        "be changed");
    check_ephemeral(
        "\"ephemeralContainers\":[{\"name\":\"a\"}]", "",
        "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not "
        "be removed");
    check_update("\"containers\":[{}]", "\"containers\":[{},{}]",
                 "spec.containers: Forbidden: pod updates may not add or remove containers");
}

static void check_workload(const char *kind, const char *resource, const char *spec,
                           const char *want)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a};
    struct kb_node *obj = kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", spec).p);
    default_as(&a, resource, obj);
    kb_rules_workload_default(kb_str_of(kind), &a, obj);
    kb_rules_workload(kb_str_of(kind), obj, &causes);
    check_causes(&causes, want, spec);
}

#define T(labels, more)                                                                            \
    "\"template\":{\"metadata\":{\"labels\":{" labels "}},\"spec\":{" C("") more "}}"
#define SELECT(labels) "\"selector\":{\"matchLabels\":{" labels "}},"

KB_TEST(rules, workloads)
{
    static const struct {
        const char *spec, *want;
    } cases[] = {
        {SELECT("\"a\":\"b\"") T("\"a\":\"b\",\"c\":\"d\"", ""), ""},
        {SELECT("\"a\":\"b\"") T("\"a\":\"c\"", ""),
         "spec.template.metadata.labels: Invalid value: map[string]string{\"a\":\"c\"}: `selector` "
         "does not match "
         "template `labels`"},
        {SELECT("\"a\":\"b\"") T("\"a\":\"b\"", ",\"restartPolicy\":\"Never\""),
         "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: "
         "\"Always\""},
        {SELECT("\"a\":\"b\"") "\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":"
                               "\"0%\"}}," T("\"a\":\"b\"", ""),
         "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when "
         "`maxSurge` is 0"},
        {SELECT("\"a\":\"b\"") "\"progressDeadlineSeconds\":5,\"minReadySeconds\":5," T(
             "\"a\":\"b\"", ""),
         "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"},
        {SELECT("\"a\":\"b\"") T("\"a\":\"b\"", ",\"activeDeadlineSeconds\":5"),
         "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet "
         "is not Supported"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        check_workload("Deployment", "deployments.apps", cases[i].spec, cases[i].want);
    check_workload("ReplicationController", "replicationcontrollers", T("\"a\":\"b\"", ""), "");
}

static void check_service(const char *old_spec, const char *spec, const char *want)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a};
    struct kb_node *old = NULL;
    struct kb_node *obj = kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", spec).p);
    if (old_spec != NULL)
        old = kb_test_node(&a, kb_arena_printf(&a, "{\"spec\":{%s}}", old_spec).p);
    default_as(&a, "services", obj);
    kb_rules_service(obj, old, &causes);
    check_causes(&causes, want, spec);
}

KB_TEST(rules, services)
{
    check_service(NULL, "\"ports\":[{\"port\":80}]", "");
    check_service(NULL, "\"type\":\"ClusterIP\"", "spec.ports: Required value");
    check_service(NULL, "\"clusterIP\":\"None\"", "");
    check_service(NULL, "\"ports\":[{\"port\":80},{\"port\":81,\"name\":\"b\"}]",
                  "spec.ports[0].name: Required value");
    check_service(NULL, "\"ports\":[{\"port\":80,\"name\":\"b\"},{\"port\":81,\"name\":\"b\"}]",
                  "spec.ports[1].name: Duplicate value: \"b\"");
    check_service(NULL, "\"ports\":[{\"port\":80,\"nodePort\":30000}]",
                  "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'");
    check_service(NULL, "\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30000}]", "");
    check_service("\"type\":\"ClusterIP\",\"clusterIP\":\"10.0.0.1\"",
                  "\"clusterIP\":\"10.0.0.2\",\"ports\":[{\"port\":80}]",
                  "spec.clusterIPs[0]: Invalid value: \"10.0.0.2\": may not change once set");
    check_service(NULL, "\"externalTrafficPolicy\":\"Local\",\"ports\":[{\"port\":80}]",
                  "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for "
                  "externally-accessible services");
}

KB_TEST(rules, secrets)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a};
    struct kb_node *secret =
        kb_test_node(&a, "{\"type\":\"kubernetes.io/tls\",\"data\":{\"k\":\"eA==\"},"
                         "\"stringData\":{\"tls.crt\":\"hallo\",\"k\":\"neu\"}}");
    kb_rules_secret_default(&a, secret);
    KB_CHECK(kb_node_get(secret, "stringData") == NULL);
    KB_CHECK_STRN(kb_node_text(kb_node_get(kb_node_get(secret, "data"), "tls.crt")), "aGFsbG8=");
    KB_CHECK_STRN(kb_node_text_at(secret, "data.k"), "bmV1");
    kb_rules_secret(secret, &causes);
    check_causes(&causes, "data[tls.key]: Required value", "tls");
}

KB_TEST(rules, configmaps_and_events)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_causes causes = {.arena = &a}, others = {.arena = &a};
    kb_rules_configmap(kb_test_node(&a, "{\"data\":{\"k\":\"v\"},\"binaryData\":{\"k\":\"eA==\"}}"),
                       &causes);
    check_causes(&causes, "data[k]: Invalid value: \"k\": duplicate of key present in binaryData",
                 "a key in both");
    kb_rules_event(kb_test_node(&a, "{\"metadata\":{\"namespace\":\"x\"},\"involvedObject\":{"
                                    "\"namespace\":\"y\"}}"),
                   &others);
    check_causes(&others,
                 "involvedObject.namespace: Invalid value: \"y\": does not match event.namespace",
                 "an event elsewhere");
}

KB_TEST(rules, nothing_is_trusted)
{
    static const char *const specs[] = {
        "null",
        "[]",
        "\"x\"",
        "{\"containers\":{}}",
        "{\"containers\":[1,null,[]]}",
        "{\"containers\":[{\"ports\":[3],\"env\":[[]],\"resources\":[],\"volumeMounts\":[\"\"]}],"
        "\"volumes\":[7,{\"projected\":[]}],\"tolerations\":[0],\"affinity\":4,\"hostNetwork\":"
        "true}",
    };
    for (size_t i = 0; i < KB_COUNT(specs); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_causes causes = {.arena = &a};
        struct kb_node *spec = kb_test_node(&a, specs[i]);
        kb_rules_pod_default(&a, spec);
        kb_rules_pod_spec(spec, NULL, false, &causes);
        kb_rules_pod_qos(spec);
    }
}
