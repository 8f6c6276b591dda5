/* Profiles that ask a policy at some of its points only: each such set is refused, or works. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

/* A pod with something to say to every policy. */
#define DEMANDING                                                                                  \
    "{'metadata': {'name': 'p', 'namespace': 'x', 'labels': {'a': 'b'}, 'annotations': "           \
    "{'alibabacloud.com/gpu-count': '1', 'alibabacloud.com/gpu-milli': '500'}}, 'spec': "          \
    "{'priority': 5, 'nodeSelector': {'zone': 'a'}, 'tolerations': [{'operator': 'Exists'}], "     \
    "'containers': [{'image': 'web', 'ports': [{'hostPort': 80}], 'resources': {'requests': "      \
    "{'cpu': '1', 'memory': '1Gi'}}}], 'volumes': [{'name': 'v', 'persistentVolumeClaim': "        \
    "{'claimName': 'made'}}, {'name': 'w', 'persistentVolumeClaim': {'claimName': 'later'}}], "    \
    "'affinity': {'nodeAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': "            \
    "[{'weight': "                                                                                 \
    "3, 'preference': {'matchExpressions': [{'key': 'zone', 'operator': 'Exists'}]}}]}, "          \
    "'podAffinity': {'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': 3, "           \
    "'podAffinityTerm': {'topologyKey': 'zone', 'labelSelector': {}}}]}, 'podAntiAffinity': "      \
    "{'requiredDuringSchedulingIgnoredDuringExecution': [{'topologyKey': 'zone', "                 \
    "'labelSelector': {'matchLabels': {'c': 'd'}}}]}}, 'topologySpreadConstraints': [{'maxSkew': " \
    "1, 'topologyKey': 'zone', 'whenUnsatisfiable': 'DoNotSchedule', 'labelSelector': {}}, "       \
    "{'maxSkew': 1, 'topologyKey': 'zone', 'whenUnsatisfiable': 'ScheduleAnyway', "                \
    "'labelSelector': {}}]}}"

static void fill(struct kb_ptest *t)
{
    kb_ptest_object(t, "storageclasses.storage.k8s.io", "", "slow",
                    "{'volumeBindingMode': 'WaitForFirstConsumer', 'provisioner': 'd'}");
    kb_ptest_object(t, "persistentvolumes", "", "v",
                    "{'metadata': {'labels': {'topology.kubernetes.io/zone': 'a'}}, 'spec': "
                    "{'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'csi': "
                    "{'driver': 'd', 'volumeHandle': 'h'}}, 'status': {'phase': 'Bound'}}");
    kb_ptest_object(t, "persistentvolumeclaims", "x", "made",
                    "{'metadata': {'uid': 'm', 'annotations': "
                    "{'pv.kubernetes.io/bind-completed': 'yes'}}, 'spec': {'volumeName': 'v', "
                    "'accessModes': ['ReadWriteOnce']}, 'status': {'phase': 'Bound'}}");
    kb_ptest_object(t, "persistentvolumeclaims", "x", "later",
                    "{'metadata': {'uid': 'l'}, 'spec': {'storageClassName': 'slow', "
                    "'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': "
                    "'1Gi'}}}, 'status': {'phase': 'Pending'}}");
    kb_ptest_object(t, "csinodes.storage.k8s.io", "", "n1",
                    "{'spec': {'drivers': [{'name': 'd', 'allocatable': {'count': 4}}]}}");
    kb_ptest_node(t, "n1",
                  "{'metadata': {'labels': {'zone': 'a', 'topology.kubernetes.io/zone': 'a', "
                  "'alibabacloud.com/gpu-card-model': 'T4'}}, 'spec': {'taints': [{'key': 'k', "
                  "'effect': 'PreferNoSchedule'}]}, 'status': {'images': [{'names': ['web'], "
                  "'sizeBytes': 90000000}], 'allocatable': {'cpu': '4', 'memory': '8Gi', 'pods': "
                  "'9', 'alibabacloud.com/gpu-count': '2'}}}");
    kb_ptest_node(t, "n2", "{'metadata': {'labels': {'zone': 'a'}}}");
    kb_ptest_pod(t, "n1",
                 "{'metadata': {'name': 'q', 'namespace': 'x', 'labels': {'a': 'b'}}, 'spec': "
                 "{'containers': [{}]}}");
}

static uint32_t points_of(const struct kb_policy *policy)
{
    uint32_t points = 0;
    for (int i = 0; i < KB_POINTS; i++)
        if (kb_policy_extends(policy, (enum kb_point)i))
            points |= 1u << i;
    return points;
}

static bool is_refused(const struct kb_profile_entry *entry)
{
    struct kb_profile_entry all[] = {*entry, {.policy = kb_policy_builtin("PrioritySort")}};
    struct kb_core *core = kb_sched_core_new(1);
    struct kb_err err = {0};
    uint32_t profile;
    bool refused = kb_core_add_profile(core, "p", all, 2, &profile, &err) < 0;
    kb_sched_core_destroy(&core);
    return refused;
}

KB_TEST(profile, every_policy_at_every_set_of_its_points_works_or_is_refused)
{
    uint32_t works = 0, refused = 0;
    for (size_t i = 0; i < kb_profile_default_n; i++) {
        const struct kb_policy *policy = kb_profile_default[i].policy;
        uint32_t points = points_of(policy);
        if (policy->queue_sort)
            continue;
        for (uint32_t set = points;; set = (set - 1) & points) {
            struct kb_profile_entry entry = {.policy = policy, .without = ~set};
            if (is_refused(&entry)) {
                refused++;
            } else {
                struct kb_ptest *t = kb_ptest_new(&entry, 1);
                works++;
                fill(t);
                KB_CHECK(*kb_ptest_place(t, DEMANDING) != '\0');
                kb_ptest_why(t, "n1", DEMANDING);
                kb_ptest_destroy(&t);
            }
            if (set == 0)
                break;
        }
    }
    KB_CHECK_I64(works, >, 40);
    KB_CHECK_I64(refused, >, 8);
}

KB_TEST(profile, what_a_point_stands_on)
{
    struct kb_profile_entry entry = {.policy = kb_policy_builtin("PodTopologySpread"),
                                     .without = 1u << KB_POINT_PRE_FILTER};
    KB_CHECK(is_refused(&entry)); /* a filter without its preFilter */
    entry.without |= 1u << KB_POINT_FILTER;
    KB_CHECK(!is_refused(&entry)); /* the score has a preScore of its own */
    entry.without = 1u << KB_POINT_PRE_SCORE;
    KB_CHECK(is_refused(&entry));
}
