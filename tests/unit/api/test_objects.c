#include "tests/unit/api/objects_fixture.h"

#include <stdlib.h>

#define POD_SPEC  "\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"busybox\"}]}"
#define POD(name) "{\"metadata\":{\"name\":\"" name "\"}," POD_SPEC "}"
#define DEPLOYMENT(name, replicas)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"replicas\":" replicas                       \
    ",\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{"       \
    "\"a\":\"b\"}}," POD_SPEC "}}}"
#define CONFIGMAP(name) "{\"metadata\":{\"name\":\"" name "\"},\"data\":{\"k\":\"v\"}}"

enum {
    CREATE = KB_VERB_CREATE,
    UPDATE = KB_VERB_UPDATE,
    PATCH = KB_VERB_PATCH,
    DELETE = KB_VERB_DELETE,
    GET = KB_VERB_GET,
};

KB_TEST(objects, a_fresh_cluster_has_namespaces_accounts_and_the_kubernetes_service)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    KB_CHECK_U64(cluster_count(c, "namespaces//"), ==, 4);
    KB_CHECK_U64(cluster_count(c, "serviceaccounts/"), ==, 4);
    kb_val service = cluster_get(c, "services/default/kubernetes");
    KB_CHECK_STRN(kb_val_str_at(service, "spec.clusterIP"), "10.96.0.1");
    KB_CHECK_STRN(kb_val_str_at(service, "spec.clusterIPs[0]"), "10.96.0.1");
    KB_CHECK_I64(kb_val_int_at(service, "spec.ports[0].targetPort", 0), ==, 7443);
    KB_CHECK(kb_val_present(cluster_get(c, "serviceips//10.96.0.1")));
    kb_val ns = cluster_get(c, "namespaces//default");
    KB_CHECK_STRN(kb_val_str_at(ns, "status.phase"), "Active");
    KB_CHECK_STRN(kb_val_str_at(ns, "spec.finalizers[0]"), "kubernetes");
}

KB_TEST(objects, a_created_pod_is_complete)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    const struct answer *a = cluster_do(c, CREATE, "pods/default/", POD("web"));
    KB_CHECK_I64(a->code, ==, 201);
    KB_CHECK(a->rev > 0);
    KB_CHECK_STR(answer_at(a, "kind"), "Pod");
    KB_CHECK_STR(answer_at(a, "apiVersion"), "v1");
    KB_CHECK_STR(answer_at(a, "metadata.namespace"), "default");
    KB_CHECK_STR(answer_at(a, "metadata.creationTimestamp"), "2024-01-01T00:00:00Z");
    KB_CHECK_U64(strlen(answer_at(a, "metadata.uid")), ==, 36);
    KB_CHECK_STR(answer_at(a, "spec.serviceAccountName"), "default");
    KB_CHECK_STR(answer_at(a, "spec.tolerations[1].tolerationSeconds"), "300");
    KB_CHECK_STR(answer_at(a, "spec.priority"), "0");
    KB_CHECK_STR(answer_at(a, "status.phase"), "Pending");
    KB_CHECK(kb_val_equal(cluster_get(c, "pods/default/web"), kb_doc_root(a->doc)));
}

#define CLASSES           "priorityclasses.scheduling.k8s.io//"
#define CLASS(name, more) "{\"metadata\":{\"name\":\"" name "\"}," more "}"
#define POD_WITH(name, more)                                                                       \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":"   \
    "\"busybox\"}]," more "}}"

KB_TEST(objects, a_pod_gets_the_priority_of_its_class)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    kb_val node = cluster_get(c, CLASSES "system-node-critical");
    KB_CHECK_I64(kb_val_int_at(node, "value", 0), ==, 2000001000);
    KB_CHECK_STRN(kb_val_str_at(node, "preemptionPolicy"), "PreemptLowerPriority");
    cluster_do(c, CREATE, CLASSES, CLASS("quiet", "\"value\":7,\"preemptionPolicy\":\"Never\""));
    const struct answer *a =
        cluster_do(c, CREATE, "pods/default/", POD_WITH("p", "\"priorityClassName\":\"quiet\""));
    KB_CHECK_STR(answer_at(a, "spec.priority"), "7");
    KB_CHECK_STR(answer_at(a, "spec.preemptionPolicy"), "Never");
    a = cluster_do(c, CREATE, "pods/default/", POD_WITH("q", "\"preemptionPolicy\":\"Never\""));
    KB_CHECK_STR(
        answer_at(a, "message"),
        "pods \"q\" is forbidden: the string value of PreemptionPolicy (Never) must not be "
        "provided in pod spec; priority admission controller computed "
        "PreemptLowerPriority from the given PriorityClass name");
    cluster_do(c, CREATE, CLASSES, CLASS("usual", "\"value\":3,\"globalDefault\":true"));
    a = cluster_do(c, CREATE, "pods/default/", POD_WITH("r", "\"restartPolicy\":\"Never\""));
    KB_CHECK_STR(answer_at(a, "spec.priority"), "3");
    KB_CHECK_STR(answer_at(a, "spec.priorityClassName"), "usual");
    cluster_do(c, DELETE, CLASSES "usual", NULL);
    a = cluster_do(c, CREATE, "pods/default/", POD("s"));
    KB_CHECK_STR(answer_at(a, "spec.priority"), "0");
}

KB_TEST(objects, a_pod_is_made_only_for_a_service_account_that_is_there)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    static const char pod[] = POD_WITH("p", "\"serviceAccountName\":\"robot\"");
    const struct answer *a = cluster_do(c, CREATE, "pods/default/", pod);
    KB_CHECK_I64(a->code, ==, 403);
    KB_CHECK_STR(answer_at(a, "reason"), "Forbidden");
    KB_CHECK_STR(answer_at(a, "message"),
                 "pods \"p\" is forbidden: error looking up service account default/robot: "
                 "serviceaccount \"robot\" not found");
    cluster_do(c, CREATE, "serviceaccounts/default/", "{\"metadata\":{\"name\":\"robot\"}}");
    a = cluster_do(c, CREATE, "pods/default/", pod); /* no view has shown it yet */
    KB_CHECK_I64(a->code, ==, 201);
    cluster_do(c, DELETE, "serviceaccounts/default/robot", NULL);
    a = cluster_do(c, CREATE, "pods/default/", POD_WITH("q", "\"serviceAccount\":\"robot\""));
    KB_CHECK_I64(a->code, ==, 403);
    cluster_do(c, CREATE, "namespaces/", "{\"metadata\":{\"name\":\"fresh\"}}");
    a = cluster_do(c, CREATE, "pods/fresh/", POD("p")); /* at once: its default account is there */
    KB_CHECK_I64(a->code, ==, 201);
}

/* What a read says of an account may be out of date when it arrives, and the deletion be known. */
KB_TEST(objects, an_account_that_a_read_has_found_is_not_known_for_good)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "serviceaccounts/default/", "{\"metadata\":{\"name\":\"robot\"}}");
    const struct answer *a =
        cluster_do(c, CREATE, "pods/default/", POD_WITH("p", "\"serviceAccountName\":\"robot\""));
    KB_CHECK_I64(a->code, ==, 201);
    cluster_drop(c, "serviceaccounts/default/robot");
    a = cluster_do(c, CREATE, "pods/default/", POD_WITH("q", "\"serviceAccountName\":\"robot\""));
    KB_CHECK_I64(a->code, ==, 403);
}

KB_TEST(objects, priority_classes_are_what_kubernetes_admits)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    const struct answer *a = cluster_do(c, CREATE, CLASSES, CLASS("a", "\"value\":1000000001"));
    KB_CHECK_STR(answer_at(a, "message"),
                 "PriorityClass.scheduling.k8s.io \"a\" is invalid: value: Forbidden: maximum "
                 "allowed value of a user defined priority is 1000000000");
    a = cluster_do(c, CREATE, CLASSES, CLASS("system-x", "\"value\":1"));
    KB_CHECK_STR(
        answer_at(a, "message"),
        "PriorityClass.scheduling.k8s.io \"system-x\" is invalid: metadata.name: Forbidden: "
        "priority class names with 'system-' prefix are reserved for system use only. "
        "error: system-x is not a known system priority class");
    cluster_do(c, CREATE, CLASSES, CLASS("b", "\"value\":1,\"globalDefault\":true"));
    a = cluster_do(c, CREATE, CLASSES, CLASS("c", "\"value\":1,\"globalDefault\":true"));
    KB_CHECK_STR(answer_at(a, "message"),
                 "priorityclasses.scheduling.k8s.io \"c\" is forbidden: PriorityClass b is already "
                 "marked as default. Only one default can exist");
    a = cluster_do(c, PATCH, CLASSES "b", "{\"value\":2}");
    KB_CHECK_STR(answer_at(a, "message"),
                 "PriorityClass.scheduling.k8s.io \"b\" is invalid: value: Forbidden: may not be "
                 "changed in an update.");
}

KB_TEST(objects, budgets_and_gates)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    const struct answer *a =
        cluster_do(c, CREATE, "poddisruptionbudgets.policy/default/",
                   CLASS("b", "\"spec\":{\"minAvailable\":1,\"maxUnavailable\":1}"));
    KB_CHECK_I64(a->code, ==, 422);
    a = cluster_do(c, CREATE, "poddisruptionbudgets.policy/default/",
                   CLASS("b", "\"spec\":{\"minAvailable\":\"101%\"}"));
    KB_CHECK_STR(answer_at(a, "message"),
                 "PodDisruptionBudget.policy \"b\" is invalid: spec.minAvailable: Invalid value: "
                 "\"101%\": must not be greater than 100%");
    a = cluster_do(c, CREATE, "poddisruptionbudgets.policy/default/",
                   CLASS("b", "\"spec\":{\"minAvailable\":\"50%\",\"selector\":{}}"));
    KB_CHECK_I64(a->code, ==, 201);
    a = cluster_do(c, CREATE, "pods/default/",
                   POD_WITH("p", "\"schedulingGates\":[{\"name\":\"x.io/g\"}]"));
    KB_CHECK_STR(answer_at(a, "status.conditions[0].reason"), "SchedulingGated");
    KB_CHECK_STR(answer_at(a, "status.conditions[0].message"),
                 "Scheduling is blocked due to non-empty scheduling gates");
}

struct failure {
    unsigned verb;
    const char *target, *body;
    int code;
    const char *reason, *message;
};

KB_TEST(objects, failures_are_told_as_kubernetes_tells_them)
{
    static const struct failure cases[] = {
        {CREATE, "configmaps/default/", CONFIGMAP("cm"), 409, "AlreadyExists",
         "configmaps \"cm\" already exists"},
        {CREATE, "configmaps/nowhere/", CONFIGMAP("cm"), 404, "NotFound",
         "namespaces \"nowhere\" not found"},
        {CREATE, "configmaps/default/", "{\"data\":{}}", 422, "Invalid",
         "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is "
         "required"},
        {CREATE, "configmaps/default/", "{\"metadata\":{\"name\":\"x\",\"namespace\":\"y\"}}", 400,
         "BadRequest",
         "the namespace of the provided object does not match the namespace sent on the request"},
        {CREATE, "configmaps/default/", "[]", 400, "BadRequest",
         "the body of the request is not an object"},
        {CREATE, "configmaps/default/", "{\"apiVersion\":\"v2\",\"metadata\":{\"name\":\"x\"}}",
         400, "BadRequest",
         "the API version in the data (v2) does not match the expected API version (v1)"},
        {CREATE, "configmaps/default/", "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"5\"}}",
         400, "BadRequest", "resourceVersion should not be set on objects to be created"},
        {UPDATE, "configmaps/default/none", CONFIGMAP("none"), 404, "NotFound",
         "configmaps \"none\" not found"},
        {UPDATE, "configmaps/default/cm", CONFIGMAP("other"), 400, "BadRequest",
         "the name of the object (other) does not match the name on the URL (cm)"},
        {UPDATE, "configmaps/default/cm",
         "{\"metadata\":{\"name\":\"cm\",\"resourceVersion\":\"1\"}}", 409, "Conflict",
         "Operation cannot be fulfilled on configmaps \"cm\": the object has been modified; please "
         "apply your changes to the latest version and try again"},
        {UPDATE, "configmaps/default/cm", "{\"metadata\":{\"name\":\"cm\",\"uid\":\"abc\"}}", 409,
         "Conflict", NULL},
        {PATCH, "configmaps/default/none", "{}", 404, "NotFound", "configmaps \"none\" not found"},
        {DELETE, "deployments.apps/default/none", NULL, 404, "NotFound",
         "deployments.apps \"none\" not found"},
        {DELETE, "namespaces//default", NULL, 403, "Forbidden",
         "namespaces \"default\" is forbidden: this namespace may not be deleted"},
        {CREATE, "deployments.apps/default/", DEPLOYMENT("d", "\"3\""), 400, "BadRequest",
         "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal "
         "string into Go struct field DeploymentSpec.spec.replicas of type int32"},
        {CREATE, "deployments.apps/default/", DEPLOYMENT("d", "-1"), 422, "Invalid",
         "Deployment.apps \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than "
         "or equal to 0"},
        {CREATE, "pods/default/",
         "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"priorityClassName\":"
         "\"gold\",\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}",
         403, "Forbidden", "pods \"p\" is forbidden: no PriorityClass with name gold was found"},
        {CREATE, "pods/default/none#binding", "{\"target\":{\"name\":\"n1\"}}", 404, "NotFound",
         "pods \"none\" not found"},
    };
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    KB_CHECK_I64(cluster_do(c, CREATE, "configmaps/default/", CONFIGMAP("cm"))->code, ==, 201);
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        const struct answer *a = cluster_do(c, cases[i].verb, cases[i].target, cases[i].body);
        if (cases[i].message)
            KB_CHECK_STR(answer_at(a, "message"), cases[i].message);
        KB_CHECK_I64(a->code, ==, cases[i].code);
        KB_CHECK_STR(answer_at(a, "reason"), cases[i].reason);
        KB_CHECK_STR(answer_at(a, "status"), "Failure");
        KB_CHECK_I64(a->rev, ==, 0);
    }
}

KB_TEST(objects, unknown_fields_are_errors_warnings_or_nothing_as_asked)
{
    static const char body[] = "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"foo\":1,\"foo\":2,"
                               "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
                               "\"metadata\":{\"labels\":{\"a\":\"b\"}}," POD_SPEC "}}}";
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    struct kb_object_request r = cluster_target(c, CREATE, "deployments.apps/default/", body);
    r.validation = KB_VALIDATION_STRICT;
    const struct answer *a = cluster_request(c, &r);
    KB_CHECK_I64(a->code, ==, 400);
    KB_CHECK_STR(answer_at(a, "message"),
                 "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding "
                 "error: duplicate field \"spec.foo\", unknown field \"spec.foo\"");
    r.validation = KB_VALIDATION_WARN;
    a = cluster_request(c, &r);
    KB_CHECK_I64(a->code, ==, 201);
    KB_CHECK_U64(a->warnings, ==, 2);
    KB_CHECK_STR(a->warning, "duplicate field \"spec.foo\"");
    KB_CHECK_STR(answer_at(a, "spec.foo"), "");
}

KB_TEST(objects, generation_rises_with_the_spec_and_status_is_written_apart)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    const struct answer *a =
        cluster_do(c, CREATE, "deployments.apps/default/", DEPLOYMENT("d", "3"));
    KB_CHECK_STR(answer_at(a, "metadata.generation"), "1");
    int64_t rev = a->rev;
    a = cluster_do(c, PATCH, "deployments.apps/default/d",
                   "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
    KB_CHECK_STR(answer_at(a, "metadata.generation"), "1");
    KB_CHECK(a->rev > rev);
    rev = a->rev;
    a = cluster_do(c, PATCH, "deployments.apps/default/d",
                   "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
    KB_CHECK_I64(a->rev, ==, rev); /* nothing changed, nothing written */
    a = cluster_do(c, PATCH, "deployments.apps/default/d",
                   "{\"spec\":{\"replicas\":5},\"status\":{\"replicas\":9}}");
    KB_CHECK_STR(answer_at(a, "metadata.generation"), "2");
    KB_CHECK_STR(answer_at(a, "status.replicas"), "");
    a = cluster_do(c, PATCH, "deployments.apps/default/d#status",
                   "{\"spec\":{\"replicas\":7},\"status\":{\"replicas\":9}}");
    KB_CHECK_STR(answer_at(a, "metadata.generation"), "2");
    KB_CHECK_STR(answer_at(a, "spec.replicas"), "5");
    KB_CHECK_STR(answer_at(a, "status.replicas"), "9");
    a = cluster_do(c, PATCH, "deployments.apps/default/d",
                   "{\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}}}}");
    KB_CHECK_I64(a->code, ==, 422);
    KB_CHECK_STR(answer_at(a, "details.causes[1].field"), "spec.selector");
}

KB_TEST(objects, scale_is_read_and_written_as_autoscaling_v1)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "deployments.apps/default/", DEPLOYMENT("d", "3"));
    const struct answer *a = cluster_do(c, GET, "deployments.apps/default/d#scale", NULL);
    KB_CHECK_STR(answer_at(a, "kind"), "Scale");
    KB_CHECK_STR(answer_at(a, "spec.replicas"), "3");
    KB_CHECK_STR(answer_at(a, "status.selector"), "a=b");
    KB_CHECK(a->rev > 0);
    struct kb_object_request r =
        cluster_target(c, PATCH, "deployments.apps/default/d#scale", "{\"spec\":{\"replicas\":7}}");
    r.patch = KB_PATCH_MERGE_JSON;
    a = cluster_request(c, &r);
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "spec.replicas"), "7");
    kb_val d = cluster_get(c, "deployments.apps/default/d");
    KB_CHECK_I64(kb_val_int_at(d, "spec.replicas", 0), ==, 7);
    KB_CHECK_I64(kb_val_int_at(d, "metadata.generation", 0), ==, 2);
    a = cluster_do(
        c, UPDATE, "deployments.apps/default/d#scale",
        "{\"metadata\":{\"name\":\"d\",\"namespace\":\"default\"},\"spec\":{\"replicas\":-2}}");
    KB_CHECK_I64(a->code, ==, 422);
    KB_CHECK_STR(answer_at(a, "details.causes[0].field"), "spec.replicas");
}

static void patch_labels(struct cluster *c)
{
    cluster_do(c, PATCH, "configmaps/default/cm", "{\"metadata\":{\"labels\":{\"won\":\"yes\"}}}");
}

KB_TEST(objects, a_patch_that_loses_a_race_is_applied_to_what_won)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "configmaps/default/", CONFIGMAP("cm"));
    cluster_race(c, patch_labels);
    const struct answer *a =
        cluster_do(c, PATCH, "configmaps/default/cm", "{\"data\":{\"x\":\"y\"}}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "data.x"), "y");
    KB_CHECK_STR(answer_at(a, "metadata.labels.won"), "yes");
}

static void remove_cm(struct cluster *c)
{
    cluster_do(c, DELETE, "configmaps/default/cm", NULL);
}

KB_TEST(objects, an_update_of_what_vanished_meanwhile_is_not_found)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "configmaps/default/", CONFIGMAP("cm"));
    cluster_race(c, remove_cm);
    KB_CHECK_I64(cluster_do(c, PATCH, "configmaps/default/cm", "{\"data\":{\"x\":\"y\"}}")->code,
                 ==, 404);
}

KB_TEST(objects, a_removal_answers_with_a_status_and_finalizers_delay_it)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "configmaps/default/", CONFIGMAP("cm"));
    const struct answer *a = cluster_do(c, DELETE, "configmaps/default/cm", NULL);
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "status"), "Success");
    KB_CHECK_STR(answer_at(a, "details.kind"), "configmaps");
    KB_CHECK_I64(a->rev, ==, 0);
    cluster_do(c, CREATE, "configmaps/default/",
               "{\"metadata\":{\"name\":\"cm\",\"finalizers\":[\"a.b/c\"]}}");
    a = cluster_do(c, DELETE, "configmaps/default/cm", NULL);
    KB_CHECK_STR(answer_at(a, "metadata.deletionTimestamp"), "2024-01-01T00:00:00Z");
    KB_CHECK(kb_val_present(cluster_get(c, "configmaps/default/cm")));
    a = cluster_do(c, PATCH, "configmaps/default/cm",
                   "{\"metadata\":{\"finalizers\":[\"a.b/c\",\"d.e/f\"]}}");
    KB_CHECK_I64(a->code, ==, 422);
    a = cluster_do(c, PATCH, "configmaps/default/cm", "{\"metadata\":{\"finalizers\":null}}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK(!kb_val_present(cluster_get(c, "configmaps/default/cm")));
}

KB_TEST(objects, propagation_policies_become_finalizers)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "deployments.apps/default/", DEPLOYMENT("d", "3"));
    const struct answer *a = cluster_do(c, DELETE, "deployments.apps/default/d",
                                        "{\"propagationPolicy\":\"Foreground\"}");
    KB_CHECK_STR(answer_at(a, "metadata.finalizers[0]"), "foregroundDeletion");
    KB_CHECK_STR(answer_at(a, "metadata.generation"), "2");
    a = cluster_do(c, DELETE, "deployments.apps/default/d", "{\"propagationPolicy\":\"Orphan\"}");
    KB_CHECK_STR(answer_at(a, "metadata.finalizers[0]"), "orphan");
    a = cluster_do(c, PATCH, "deployments.apps/default/d",
                   "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"orphan\"]}}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK(!kb_val_present(cluster_get(c, "deployments.apps/default/d")));
}

KB_TEST(objects, a_running_pod_is_given_its_grace)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "pods/default/", POD("web"));
    KB_CHECK_I64(cluster_do(c, CREATE, "pods/default/web#binding",
                            "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}")
                     ->code,
                 ==, 201);
    const struct answer *a =
        cluster_do(c, CREATE, "pods/default/web#binding", "{\"target\":{\"name\":\"n2\"}}");
    KB_CHECK_I64(a->code, ==, 409);
    KB_CHECK_STR(answer_at(a, "message"),
                 "Operation cannot be fulfilled on pods \"web\": pod web is "
                 "already assigned to node \"n1\"");
    kb_val pod = cluster_get(c, "pods/default/web");
    KB_CHECK_STRN(kb_val_str_at(pod, "spec.nodeName"), "n1");
    KB_CHECK_STRN(kb_val_str_at(pod, "status.conditions[0].type"), "PodScheduled");
    a = cluster_do(c, DELETE, "pods/default/web", NULL);
    KB_CHECK_STR(answer_at(a, "metadata.deletionTimestamp"), "2024-01-01T00:00:30Z");
    KB_CHECK_STR(answer_at(a, "metadata.deletionGracePeriodSeconds"), "30");
    int64_t rev = a->rev;
    cluster_advance(c, 5);
    KB_CHECK_I64(cluster_do(c, DELETE, "pods/default/web", NULL)->rev, ==, rev);
    a = cluster_do(c, DELETE, "pods/default/web", "{\"gracePeriodSeconds\":10}");
    KB_CHECK_STR(answer_at(a, "metadata.deletionTimestamp"), "2024-01-01T00:00:15Z");
    a = cluster_do(c, DELETE, "pods/default/web", "{\"gracePeriodSeconds\":0}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "kind"), "Pod");
    KB_CHECK(!kb_val_present(cluster_get(c, "pods/default/web")));
}

KB_TEST(objects, the_longest_grace_lies_in_the_future)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "pods/default/", POD("web"));
    cluster_do(c, CREATE, "pods/default/web#binding",
               "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
    const struct answer *a =
        cluster_do(c, DELETE, "pods/default/web", "{\"gracePeriodSeconds\":9223372036854775807}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "metadata.deletionTimestamp"), "3024-01-01T12:00:00Z");
}

KB_TEST(objects, a_pod_that_runs_nowhere_goes_at_once_and_preconditions_hold)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "pods/default/", POD("web"));
    const struct answer *a =
        cluster_do(c, DELETE, "pods/default/web", "{\"preconditions\":{\"uid\":\"nope\"}}");
    KB_CHECK_I64(a->code, ==, 409);
    KB_CHECK(strstr(answer_at(a, "message"), "Precondition failed: UID in precondition: nope"));
    KB_CHECK_I64(cluster_do(c, DELETE, "pods/default/web", NULL)->code, ==, 200);
    KB_CHECK(!kb_val_present(cluster_get(c, "pods/default/web")));
}

KB_TEST(objects, of_a_pod_only_a_few_fields_may_change)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "pods/default/", POD("web"));
    const struct answer *a =
        cluster_do(c, PATCH, "pods/default/web",
                   "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"nginx\"}]}}");
    KB_CHECK_I64(a->code, ==, 200);
    a = cluster_do(c, PATCH, "pods/default/web",
                   "{\"spec\":{\"containers\":[{\"name\":\"a\",\"command\":[\"x\"]}]}}");
    KB_CHECK_I64(a->code, ==, 422);
    KB_CHECK_STR(answer_at(a, "details.causes[0].field"), "spec");
    KB_CHECK(strstr(answer_at(a, "message"), "pod updates may not change fields other than"));
}

KB_TEST(objects, a_namespace_terminates_and_admits_nothing_new)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    cluster_do(c, CREATE, "namespaces//", "{\"metadata\":{\"name\":\"shop\"}}");
    KB_CHECK(kb_val_present(cluster_get(c, "serviceaccounts/shop/default")));
    KB_CHECK_I64(cluster_do(c, CREATE, "configmaps/shop/", CONFIGMAP("cm"))->code, ==, 201);
    const struct answer *a = cluster_do(c, DELETE, "namespaces//shop", NULL);
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "status.phase"), "Terminating");
    kb_objects_core_namespace(cluster_core(c), kb_str_of("shop"),
                              cluster_get(c, "namespaces//shop"));
    a = cluster_do(c, CREATE, "configmaps/shop/", CONFIGMAP("cm2"));
    KB_CHECK_I64(a->code, ==, 403);
    KB_CHECK_STR(answer_at(a, "message"),
                 "configmaps \"cm2\" is forbidden: unable to create new content in namespace shop "
                 "because it is being terminated");
    KB_CHECK_STR(answer_at(a, "details.causes[0].reason"), "NamespaceTerminating");
    a = cluster_do(c, UPDATE, "namespaces//shop#finalize",
                   "{\"metadata\":{\"name\":\"shop\"},\"spec\":{\"finalizers\":[]}}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK(!kb_val_present(cluster_get(c, "namespaces//shop")));
}

#define SERVICE(name, more)                                                                        \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"ports\":[{\"port\":80}]" more "}}"

KB_TEST(objects, services_get_addresses_and_ports_that_nobody_shares)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    const struct answer *a = cluster_do(c, CREATE, "services/default/", SERVICE("a", ""));
    KB_CHECK_I64(a->code, ==, 201);
    char ip[64], key[96], body[256];
    snprintf(ip, sizeof(ip), "%s", answer_at(a, "spec.clusterIP"));
    KB_CHECK_STR(answer_at(a, "spec.clusterIPs[0]"), ip);
    snprintf(key, sizeof(key), "serviceips//%s", ip);
    KB_CHECK_STRN(kb_val_str_at(cluster_get(c, key), "service"), "default/a");
    snprintf(body, sizeof(body), SERVICE("b", ",\"clusterIP\":\"%s\""), ip);
    a = cluster_do(c, CREATE, "services/default/", body);
    KB_CHECK_I64(a->code, ==, 422);
    KB_CHECK(strstr(answer_at(a, "message"), "provided IP is already allocated"));
    a = cluster_do(c, PATCH, "services/default/a", "{\"spec\":{\"type\":\"NodePort\"}}");
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_STR(answer_at(a, "spec.clusterIP"), ip);
    int port = atoi(answer_at(a, "spec.ports[0].nodePort"));
    KB_CHECK(port >= 30000 && port <= 32767);
    KB_CHECK_U64(cluster_count(c, "servicenodeports//"), ==, 1);
    a = cluster_do(c, PATCH, "services/default/a", "{\"spec\":{\"type\":\"ClusterIP\"}}");
    KB_CHECK_STR(answer_at(a, "spec.ports[0].nodePort"), "");
    KB_CHECK_U64(cluster_count(c, "servicenodeports//"), ==, 0);
    a = cluster_do(c, DELETE, "services/default/a", NULL);
    KB_CHECK_I64(a->code, ==, 200);
    KB_CHECK_U64(cluster_count(c, "serviceips//"), ==, 1);
    a = cluster_do(c, CREATE, "services/default/", SERVICE("h", ",\"clusterIP\":\"None\""));
    KB_CHECK_STR(answer_at(a, "spec.clusterIPs[0]"), "None");
    KB_CHECK_U64(cluster_count(c, "serviceips//"), ==, 1);
}

KB_TEST(objects, forty_services_get_forty_ports)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    for (int i = 0; i < 40; i++) {
        char body[256];
        snprintf(body, sizeof(body), SERVICE("s%d", ",\"type\":\"NodePort\""), i);
        KB_CHECK_I64(cluster_do(c, CREATE, "services/default/", body)->code, ==, 201);
    }
    KB_CHECK_U64(cluster_count(c, "servicenodeports//"), ==, 40);
    KB_CHECK_U64(cluster_count(c, "serviceips//"), ==, 41);
}

KB_TEST(objects, a_service_with_more_ports_than_there_are_is_refused)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    KB_AUTO(kb_buf_finish) struct kb_buf body = {0};
    kb_buf_puts(&body,
                "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[");
    for (int i = 1; i <= 3000; i++)
        kb_buf_printf(&body, "%s{\"name\":\"p%d\",\"port\":%d}", i > 1 ? "," : "", i, i);
    kb_buf_puts(&body, "]}}");
    const struct answer *a = cluster_do(c, CREATE, "services/default/", body.p);
    KB_CHECK_I64(a->code, ==, 422);
    KB_CHECK(strstr(answer_at(a, "message"), "range is full"));
}

KB_TEST(objects, a_dry_run_checks_everything_and_changes_nothing)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    struct kb_object_request r = cluster_target(c, CREATE, "configmaps/default/", CONFIGMAP("cm"));
    r.dry_run = true;
    KB_CHECK_I64(cluster_request(c, &r)->code, ==, 201);
    KB_CHECK(!kb_val_present(cluster_get(c, "configmaps/default/cm")));
    cluster_do(c, CREATE, "configmaps/default/", CONFIGMAP("cm"));
    KB_CHECK_I64(cluster_request(c, &r)->code, ==, 409);
    r = cluster_target(c, DELETE, "configmaps/default/cm", NULL);
    r.dry_run = true;
    KB_CHECK_I64(cluster_request(c, &r)->code, ==, 200);
    KB_CHECK(kb_val_present(cluster_get(c, "configmaps/default/cm")));
}

KB_TEST(objects, a_generated_name_that_is_taken_is_made_again)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    for (int i = 0; i < 50; i++) {
        const struct answer *a = cluster_do(c, CREATE, "configmaps/default/",
                                            "{\"metadata\":{\"generateName\":\"g-\"}}");
        KB_CHECK_I64(a->code, ==, 201);
        KB_CHECK_U64(strlen(answer_at(a, "metadata.name")), ==, 7);
    }
    KB_CHECK_U64(cluster_count(c, "configmaps/default/g-"), ==, 50);
}
