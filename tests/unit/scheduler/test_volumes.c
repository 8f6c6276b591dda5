/* VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits against tables of cases. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdio.h>
#include <stdlib.h>

#define NODE_CONFLICT "node(s) had volume node affinity conflict"
#define BIND_CONFLICT "node(s) didn't find available persistent volumes to bind"
#define NO_ZONE       "node(s) had no available volume zone"

static struct kb_ptest *only(const char *policy)
{
    struct kb_profile_entry entry = {.policy = kb_policy_builtin(policy)};
    return kb_ptest_new(&entry, 1);
}

/* n1 in zone a, n2 in zone b, n3 in none. */
static struct kb_ptest *cluster(const char *policy)
{
    struct kb_ptest *t = only(policy);
    kb_ptest_node(t, "n1", "{'metadata': {'labels': {'topology.kubernetes.io/zone': 'a'}}}");
    kb_ptest_node(t, "n2", "{'metadata': {'labels': {'topology.kubernetes.io/zone': 'b'}}}");
    kb_ptest_node(t, "n3", "{}");
    return t;
}

#define USES(claim)                                                                                \
    "{'metadata': {'name': 'p', 'namespace': 'x'}, 'spec': {'containers': [{}], 'volumes': "       \
    "[{'name': 'v', 'persistentVolumeClaim': {'claimName': '" claim "'}}]}}"
#define ZONE(zone)                                                                                 \
    ", 'nodeAffinity': {'required': {'nodeSelectorTerms': [{'matchExpressions': [{'key': "         \
    "'topology.kubernetes.io/zone', 'operator': 'In', 'values': ['" zone "']}]}]}}"

static void class_(struct kb_ptest *t, const char *name, const char *mode, const char *more)
{
    char text[512];
    snprintf(text, sizeof(text), "{'volumeBindingMode': '%s', 'provisioner': %s}", mode, more);
    kb_ptest_object(t, "storageclasses.storage.k8s.io", "", name, text);
}

static void volume(struct kb_ptest *t, const char *name, const char *size, const char *class_name,
                   const char *more)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "{'metadata': {'labels': {'name': '%s'}}, 'spec': {'capacity': {'storage': '%s'}, "
             "'accessModes': ['ReadWriteOnce'], 'storageClassName': '%s'%s}, 'status': {'phase': "
             "'Available'}}",
             name, size, class_name, more);
    kb_ptest_object(t, "persistentvolumes", "", name, text);
}

static void claim(struct kb_ptest *t, const char *name, const char *metadata, const char *spec,
                  const char *phase)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "{'metadata': {'uid': 'u-%s', %s}, 'spec': {'accessModes': ['ReadWriteOnce'], "
             "'resources': {'requests': {'storage': '5Gi'}}, %s}, 'status': {'phase': '%s'}}",
             name, metadata, spec, phase);
    kb_ptest_object(t, "persistentvolumeclaims", "x", name, text);
}

#define SETTLED "'annotations': {'pv.kubernetes.io/bind-completed': 'yes'}"

KB_TEST(volume_binding, claims_that_are_bound_or_should_be)
{
    static const struct {
        const char *pod, *n1, *n2;
    } cases[] = {
        {USES("in-a"), "", NODE_CONFLICT},
        {USES("anywhere"), "", ""},
        {USES("gone"), "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
         "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"},
        {USES("none"), "persistentvolumeclaim \"none\" not found",
         "persistentvolumeclaim \"none\" not found"},
        {USES("lost"),
         "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"pv\"",
         "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"pv\""},
        {USES("ending"), "persistentvolumeclaim \"ending\" is being deleted",
         "persistentvolumeclaim \"ending\" is being deleted"},
        {USES("immediate"), "pod has unbound immediate PersistentVolumeClaims",
         "pod has unbound immediate PersistentVolumeClaims"},
        {USES("half"), "pod has unbound immediate PersistentVolumeClaims",
         "pod has unbound immediate PersistentVolumeClaims"},
        {"{'metadata': {'name': 'p', 'namespace': 'x'}, 'spec': {'volumes': [{'name': 'scratch', "
         "'ephemeral': {'volumeClaimTemplate': {}}}]}}",
         "waiting for ephemeral volume controller to create the persistentvolumeclaim "
         "\"p-scratch\"",
         "waiting for ephemeral volume controller to create the persistentvolumeclaim "
         "\"p-scratch\""},
        {"{'metadata': {'namespace': 'x'}, 'spec': {'volumes': [{'name': 'v', 'emptyDir': {}}]}}",
         "", ""},
    };
    struct kb_ptest *t = cluster("VolumeBinding");
    class_(t, "now", "Immediate", "'example.com/p'");
    class_(t, "later", "WaitForFirstConsumer", "'example.com/p'");
    volume(t, "pv-a", "10Gi", "now", ZONE("a"));
    volume(t, "pv", "10Gi", "now", "");
    claim(t, "in-a", SETTLED, "'volumeName': 'pv-a'", "Bound");
    claim(t, "anywhere", SETTLED, "'volumeName': 'pv'", "Bound");
    claim(t, "gone", SETTLED, "'volumeName': 'no-such'", "Bound");
    claim(t, "lost", SETTLED, "'volumeName': 'pv'", "Lost");
    claim(t, "ending", "'deletionTimestamp': '2025-01-01T00:00:00Z'", "'volumeName': 'pv'",
          "Bound");
    claim(t, "immediate", "'a': 'b'", "'storageClassName': 'now'", "Pending");
    claim(t, "half", "'a': 'b'", "'storageClassName': 'later', 'volumeName': 'pv'", "Pending");
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod), cases[i].n1);
        KB_CHECK_STR(kb_ptest_why(t, "n2", cases[i].pod), cases[i].n2);
    }
    kb_ptest_destroy(&t);
}

KB_TEST(volume_binding, a_claim_that_waits_finds_a_volume_or_has_one_made)
{
    struct kb_ptest *t = cluster("VolumeBinding");
    class_(t, "local", "WaitForFirstConsumer", "'kubernetes.io/no-provisioner'");
    class_(t, "made", "WaitForFirstConsumer",
           "'example.com/p', 'allowedTopologies': [{'matchLabelExpressions': [{'key': "
           "'topology.kubernetes.io/zone', 'values': ['b', 'c']}]}]");
    claim(t, "l", "'a': 'b'", "'storageClassName': 'local'", "Pending");
    claim(t, "m", "'a': 'b'", "'storageClassName': 'made'", "Pending");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("l")), BIND_CONFLICT);
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("m")), BIND_CONFLICT);
    KB_CHECK_STR(kb_ptest_why(t, "n2", USES("m")), "");
    volume(t, "small", "4Gi", "local", "");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("l")), BIND_CONFLICT);
    volume(t, "pv-a", "5Gi", "local", ZONE("a"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("l")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n2", USES("l")), BIND_CONFLICT);
    /* a volume is being made for another node */
    claim(t, "m", "'annotations': {'volume.kubernetes.io/selected-node': 'n2'}",
          "'storageClassName': 'made'", "Pending");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("m")), BIND_CONFLICT);
    KB_CHECK_STR(kb_ptest_why(t, "n2", USES("m")), "");
    kb_ptest_object(t, "persistentvolumes", "", "pv-a", NULL);
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("l")), BIND_CONFLICT);
    kb_ptest_destroy(&t);
}

KB_TEST(volume_binding, which_volumes_suit_a_claim)
{
    static const struct {
        const char *volume, *claim;
        bool suits;
    } cases[] = {
        {"", "'storageClassName': 'local'", true},
        {"", "'storageClassName': 'local', 'volumeMode': 'Block'", false},
        {", 'volumeMode': 'Block'", "'storageClassName': 'local', 'volumeMode': 'Block'", true},
        {"", "'storageClassName': 'local', 'accessModes': ['ReadWriteMany']", false},
        {"", "'storageClassName': 'local', 'selector': {'matchLabels': {'name': 'pv'}}", true},
        {"", "'storageClassName': 'local', 'selector': {'matchLabels': {'name': 'x'}}", false},
        {", 'claimRef': {'namespace': 'x', 'name': 'c'}", "'storageClassName': 'local'", true},
        {", 'claimRef': {'namespace': 'x', 'name': 'c', 'uid': 'u-c'}",
         "'storageClassName': 'local'", true},
        {", 'claimRef': {'namespace': 'x', 'name': 'c', 'uid': 'old'}",
         "'storageClassName': 'local'", false},
        {", 'claimRef': {'namespace': 'y', 'name': 'c'}", "'storageClassName': 'local'", false},
        {", 'volumeAttributesClassName': 'fast'", "'storageClassName': 'local'", false},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_ptest *t = cluster("VolumeBinding");
        class_(t, "local", "WaitForFirstConsumer", "'kubernetes.io/no-provisioner'");
        volume(t, "pv", "5Gi", "local", cases[i].volume);
        claim(t, "c", "'a': 'b'", cases[i].claim, "Pending");
        KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c")), cases[i].suits ? "" : BIND_CONFLICT);
        kb_ptest_destroy(&t);
    }
}

#define USES_TWO                                                                                   \
    "{'metadata': {'namespace': 'x'}, 'spec': {'volumes': [{'name': 'v', "                         \
    "'persistentVolumeClaim': {'claimName': 'c'}}, {'name': 'w', 'persistentVolumeClaim': "        \
    "{'claimName': 'd'}}]}}"

KB_TEST(volume_binding, each_volume_is_for_one_claim)
{
    struct kb_ptest *t = cluster("VolumeBinding");
    class_(t, "local", "WaitForFirstConsumer", "'kubernetes.io/no-provisioner'");
    claim(t, "c", "'a': 'b'", "'storageClassName': 'local'", "Pending");
    claim(t, "d", "'a': 'b'", "'storageClassName': 'local'", "Pending");
    volume(t, "pv-a", "5Gi", "local", ZONE("a"));
    volume(t, "pv-b", "5Gi", "local", ZONE("b"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES_TWO), BIND_CONFLICT);
    volume(t, "pv-a2", "9Gi", "local", ZONE("a"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES_TWO), "");
    KB_CHECK_STR(kb_ptest_why(t, "n2", USES_TWO), BIND_CONFLICT);
    kb_ptest_destroy(&t);
}

KB_TEST(volume_zone, labels_of_a_volume)
{
    static const struct {
        const char *labels, *n1, *n2;
    } cases[] = {
        {"'topology.kubernetes.io/zone': 'a'", "", NO_ZONE},
        {"'topology.kubernetes.io/zone': 'c__b'", NO_ZONE, ""},
        {"'failure-domain.beta.kubernetes.io/zone': 'a'", "", NO_ZONE},
        {"'topology.kubernetes.io/region': 'r'", NO_ZONE, NO_ZONE},
        {"'a': 'b'", "", ""},
    };
    struct kb_ptest *t = cluster("VolumeZone");
    claim(t, "c", SETTLED, "'volumeName': 'pv'", "Bound");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c")), "persistentvolume \"pv\" not found");
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{'metadata': {'labels': {%s}}}", cases[i].labels);
        kb_ptest_object(t, "persistentvolumes", "", "pv", text);
        KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c")), cases[i].n1);
        KB_CHECK_STR(kb_ptest_why(t, "n2", USES("c")), cases[i].n2);
        KB_CHECK_STR(kb_ptest_why(t, "n3", USES("c")), ""); /* no zones at all */
    }
    kb_ptest_destroy(&t);
}

KB_TEST(volume_zone, claims_without_a_volume)
{
    struct kb_ptest *t = cluster("VolumeZone");
    class_(t, "now", "Immediate", "'example.com/p'");
    class_(t, "later", "WaitForFirstConsumer", "'example.com/p'");
    claim(t, "bare", "'a': 'b'", "'volumeMode': 'Block'", "Pending");
    claim(t, "now", "'a': 'b'", "'storageClassName': 'now'", "Pending");
    claim(t, "later", "'a': 'b'", "'storageClassName': 'later'", "Pending");
    claim(t, "unknown", "'a': 'b'", "'storageClassName': 'no-such'", "Pending");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("bare")),
                 "PersistentVolumeClaim had no pv name and storageClass name");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("now")), "PersistentVolume had no name");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("later")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("unknown")),
                 "storageclass.storage.k8s.io \"no-such\" not found");
    kb_ptest_destroy(&t);
}

#define DISK(source)        "{'spec': {'volumes': [{'name': 'v', " source "}]}}"
#define RBD(monitors, more) "'rbd': {'monitors': [" monitors "], 'pool': 'p', 'image': 'i'" more "}"

KB_TEST(volume_restrictions, disks_that_pods_of_a_node_cannot_share)
{
    static const struct {
        const char *there, *comes;
        bool conflict;
    } cases[] = {
        {"'gcePersistentDisk': {'pdName': 'd'}", "'gcePersistentDisk': {'pdName': 'd'}", true},
        {"'gcePersistentDisk': {'pdName': 'd'}", "'gcePersistentDisk': {'pdName': 'e'}", false},
        {"'gcePersistentDisk': {'pdName': 'd', 'readOnly': true}",
         "'gcePersistentDisk': {'pdName': 'd', 'readOnly': true}", false},
        {"'gcePersistentDisk': {'pdName': 'd', 'readOnly': true}",
         "'gcePersistentDisk': {'pdName': 'd'}", true},
        {"'awsElasticBlockStore': {'volumeID': 'd', 'readOnly': true}",
         "'awsElasticBlockStore': {'volumeID': 'd', 'readOnly': true}", true},
        {"'iscsi': {'iqn': 'd', 'lun': 0}", "'iscsi': {'iqn': 'd', 'lun': 1}", true},
        {RBD("'m1', 'm2'", ""), RBD("'m2', 'm3'", ""), true},
        {RBD("'m1'", ""), RBD("'m2'", ""), false},
        {RBD("'m1'", ", 'readOnly': true"), RBD("'m1'", ", 'readOnly': true"), false},
        {"'awsElasticBlockStore': {'volumeID': 'd'}", "'gcePersistentDisk': {'pdName': 'd'}",
         false},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_ptest *t = cluster("VolumeRestrictions");
        char there[256], comes[256];
        snprintf(there, sizeof(there), DISK("%s"), cases[i].there);
        snprintf(comes, sizeof(comes), DISK("%s"), cases[i].comes);
        kb_ptest_pod(t, "n1", there);
        KB_CHECK_STR(kb_ptest_why(t, "n1", comes),
                     cases[i].conflict ? "node(s) had no available disk" : "");
        KB_CHECK_STR(kb_ptest_why(t, "n2", comes), "");
        kb_ptest_destroy(&t);
    }
}

KB_TEST(volume_restrictions, a_claim_for_one_pod_alone)
{
    const char *taken = "node has pod using PersistentVolumeClaim with the same name and "
                        "ReadWriteOncePod access mode";
    for (int order = 0; order < 2; order++) { /* the claim may be seen before its pod, or after */
        struct kb_ptest *t = cluster("VolumeRestrictions");
        if (order == 1)
            kb_ptest_pod(t, "n1", USES("one"));
        claim(t, "one", "'a': 'b'", "'accessModes': ['ReadWriteOncePod']", "Pending");
        claim(t, "many", "'a': 'b'", "'volumeMode': 'Filesystem'", "Pending");
        if (order == 0)
            KB_CHECK_STR(kb_ptest_why(t, "n2", USES("one")), "");
        if (order == 0)
            kb_ptest_pod(t, "n1", USES("one"));
        kb_ptest_pod(t, "n1", USES("many"));
        KB_CHECK_STR(kb_ptest_why(t, "n1", USES("one")), taken);
        KB_CHECK_STR(kb_ptest_why(t, "n2", USES("one")), taken);
        KB_CHECK_STR(kb_ptest_why(t, "n2", USES("many")), "");
        KB_CHECK_STR(kb_ptest_why(t, "n2", USES("none")),
                     "persistentvolumeclaim \"none\" not found");
        kb_ptest_destroy(&t);
    }
}

KB_TEST(volume_limits, a_driver_attaches_so_many_volumes)
{
    const char *full = "node(s) exceed max volume count";
    struct kb_ptest *t = cluster("NodeVolumeLimits");
    static const char *const names[] = {"c1", "c2", "c3"};
    for (size_t i = 0; i < KB_COUNT(names); i++) {
        char csi[128], bound[64];
        snprintf(csi, sizeof(csi), ", 'csi': {'driver': 'example.com/csi', 'volumeHandle': '%s'}",
                 names[i]);
        snprintf(bound, sizeof(bound), "'volumeName': '%s'", names[i]);
        volume(t, names[i], "5Gi", "now", csi);
        claim(t, names[i], SETTLED, bound, "Bound");
    }
    class_(t, "later", "WaitForFirstConsumer", "'example.com/csi'");
    claim(t, "new", "'a': 'b'", "'storageClassName': 'later'", "Pending");
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c1")), ""); /* nobody says how many */
    kb_ptest_object(
        t, "csinodes.storage.k8s.io", "", "n1",
        "{'spec': {'drivers': [{'name': 'other', 'allocatable': {'count': 1}}, {'name': "
        "'example.com/csi', 'allocatable': {'count': 2}}]}}");
    kb_ptest_pod(t, "n1", USES("c1"));
    kb_ptest_pod(t, "n1", USES("c1"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c2")), "");
    kb_ptest_pod(t, "n1", USES("c2"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c3")), full);
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("new")), full);
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c2")), ""); /* attached already */
    KB_CHECK_STR(kb_ptest_why(t, "n2", USES("c3")), "");
    kb_ptest_object(t, "csinodes.storage.k8s.io", "", "n1", NULL);
    KB_CHECK_STR(kb_ptest_why(t, "n1", USES("c3")), "");
    kb_ptest_destroy(&t);
}

KB_TEST(volumes, a_pod_whose_claim_is_missing_fits_nowhere)
{
    struct kb_ptest *t = kb_ptest_new(kb_profile_default, kb_profile_default_n);
    kb_ptest_node(t, "n1",
                  "{'status': {'allocatable': {'cpu': '4', 'memory': '4Gi', 'pods': '9'}}}");
    KB_CHECK_STR(kb_ptest_place(t, USES("data")),
                 "0/1 nodes are available: persistentvolumeclaim \"data\" not found. preemption: "
                 "0/1 nodes are available: 1 Preemption is not helpful for scheduling.");
    kb_ptest_object(t, "persistentvolumeclaims", "x", "data",
                    "{'spec': {'storageClassName': 'fast'}, 'status': {'phase': 'Pending'}}");
    KB_CHECK_STR(
        kb_ptest_place(t, USES("data")),
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.");
    kb_ptest_destroy(&t);
}

/* ---- from reserve to bind ---- */

static void tell(struct world *w, const char *key, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json ? kb_ptest_json(json) : NULL;
    kb_sched_object_put(w->sched, kb_str_of(key), kb_doc_root(doc));
}

static void check_write(struct world *w, const char *key, const char *path, const char *value)
{
    struct kb_volume_write write = {0};
    KB_CHECK(kb_sched_next_write(w->sched, &write));
    KB_CHECK_STR(write.key, key);
    KB_CHECK_STRN(kb_val_str_at(kb_doc_root(write.patch), path), value);
    kb_sched_write_done(w->sched, write.ns, write.claim, 0);
    kb_doc_destroy(&write.patch);
    free(write.key);
    KB_CHECK(!kb_sched_next_write(w->sched, &write));
}

#define WAITING_CLAIM(uid, class_name, annotations, more)                                          \
    "{'metadata': {'uid': '" uid "', 'annotations': {'a': 'b'" annotations                         \
    "}}, 'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': "        \
    "'5Gi'}}, 'storageClassName': '" class_name "'" more "}, 'status': {'phase': 'Pending'}}"
#define POD_WITH(claim)                                                                            \
    "{'metadata': {'namespace': 'x', 'uid': 'u'}, 'spec': {'containers': [{}], 'volumes': "        \
    "[{'name': 'v', 'persistentVolumeClaim': {'claimName': '" claim "'}}]}}"

static void storage_world(struct world *w, const char *provisioner)
{
    char class_json[256];
    world_start(w);
    snprintf(class_json, sizeof(class_json),
             "{'volumeBindingMode': 'WaitForFirstConsumer', 'provisioner': '%s'}", provisioner);
    tell(w, "storageclasses.storage.k8s.io//later", class_json);
    world_node(w, "n1", "4");
}

KB_TEST(volume_binding, a_pod_is_bound_when_the_volume_that_was_chosen_for_it_is)
{
    KB_AUTO(world_end) struct world w;
    storage_world(&w, "kubernetes.io/no-provisioner");
    tell(&w, "persistentvolumes//pv",
         "{'spec': {'capacity': {'storage': '5Gi'}, 'accessModes': ['ReadWriteOnce'], "
         "'storageClassName': 'later'}, 'status': {'phase': 'Available'}}");
    tell(&w, "persistentvolumeclaims/x/c", WAITING_CLAIM("uc", "later", "", ""));
    tell(&w, "persistentvolumeclaims/x/d", WAITING_CLAIM("ud", "later", "", ""));
    world_store_json(&w, "pods/x/p", POD_WITH("c"));
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    check_write(&w, "persistentvolumes//pv", "spec.claimRef.uid", "uc");
    world_store_json(&w, "pods/x/q", POD_WITH("d")); /* the volume is spoken for */
    world_settle(&w);
    KB_CHECK_STR(world_message(&w, "pods/x/q"),
                 "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to "
                 "bind. preemption: 0/1 nodes are available: 1 Preemption is not helpful for "
                 "scheduling.");
    tell(&w, "persistentvolumeclaims/x/c",
         WAITING_CLAIM("uc", "later", ", 'pv.kubernetes.io/bind-completed': 'yes'",
                       ", 'volumeName': 'pv'"));
    world_after(&w, 1000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(volume_binding, a_volume_is_made_for_the_node_that_was_chosen)
{
    KB_AUTO(world_end) struct world w;
    storage_world(&w, "example.com/p");
    tell(&w, "persistentvolumeclaims/x/c", WAITING_CLAIM("uc", "later", "", ""));
    world_store_json(&w, "pods/x/p", POD_WITH("c"));
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    struct kb_volume_write write = {0};
    KB_CHECK(kb_sched_next_write(w.sched, &write));
    KB_CHECK_STR(write.key, "persistentvolumeclaims/x/c");
    kb_sched_write_done(w.sched, write.ns, write.claim, -KB_ETIMEOUT); /* once more, then */
    kb_doc_destroy(&write.patch);
    free(write.key);
    world_after(&w, 1000);
    KB_CHECK(kb_sched_next_write(w.sched, &write));
    KB_CHECK_STRN(kb_val_str(kb_val_get(kb_doc_at(write.patch, "metadata.annotations"),
                                        "volume.kubernetes.io/selected-node")),
                  "n1");
    kb_doc_destroy(&write.patch);
    free(write.key);
    /* the pod goes: another node may be chosen for the next one */
    world_store(&w, "pods/x/p", NULL);
    world_store_json(&w, "nodes//n1", "{'spec': {'unschedulable': true}}");
    world_node(&w, "n2", "4");
    world_store_json(&w, "pods/x/q", POD_WITH("c"));
    world_settle(&w);
    tell(&w, "persistentvolumeclaims/x/c",
         WAITING_CLAIM("uc", "later", ", 'pv.kubernetes.io/bind-completed': 'yes'",
                       ", 'volumeName': 'made'"));
    world_after(&w, 1000);
    KB_CHECK_STR(world_where(&w, "pods/x/q"), "n2");
}
