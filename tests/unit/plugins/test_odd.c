/* Objects of no shape at all. Whoever reaches the store can put anything there that is a map, and
 * it stays: a controller that trips over one would trip again after each restart. */
#include "tests/lib/odd.h"
#include "tests/unit/plugins/stories.h"

#include <stdlib.h>

enum { STORIES = 150 };

static const struct sample {
    const char *key, *json;
} samples[] = {
    {"namespaces//shop", "{'metadata':{'name':'shop','uid':'u0'},'status':{'phase':'Active'}}"},
    {"nodes//n1",
     "{'metadata':{'name':'n1','uid':'u1','labels':{'a':'b'}},'spec':{'taints':[{'key':'k',"
     "'effect':'NoSchedule','timeAdded':'2020-01-01T00:00:00Z'}]},'status':{'conditions':[{'type':"
     "'Ready','status':'True','lastHeartbeatTime':'2020-01-01T00:00:00Z'}]}}"},
    {"pods/shop/p",
     "{'metadata':{'name':'p','namespace':'shop','uid':'u2','labels':{'app':'web'},"
     "'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'r','uid':'u3',"
     "'controller':true}],'finalizers':['a/b']},'spec':{'nodeName':'n1','containers':[{'name':'c',"
     "'image':'i'}],'tolerations':[{'key':'k','operator':'Exists','tolerationSeconds':5}]},"
     "'status':{'phase':'Running','conditions':[{'type':'Ready','status':'True'}]}}"},
    {"replicasets.apps/shop/r",
     "{'metadata':{'name':'r','namespace':'shop','uid':'u3','labels':{'app':'web'},'annotations':{"
     "'deployment.kubernetes.io/revision':'1'},'ownerReferences':[{'apiVersion':'apps/v1','kind':"
     "'Deployment','name':'d','uid':'u4','controller':true,'blockOwnerDeletion':true}]},'spec':{"
     "'replicas':2,'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{"
     "'app':'web'}},'spec':{'containers':[{'name':'c','image':'i'}]}}},'status':{'replicas':1,"
     "'conditions':[{'type':'ReplicaFailure','status':'True'}]}}"},
    {"deployments.apps/shop/d",
     "{'metadata':{'name':'d','namespace':'shop','uid':'u4','generation':2,'annotations':{'x':'y'}}"
     ",'spec':{'replicas':3,'revisionHistoryLimit':1,'progressDeadlineSeconds':5,'minReadySeconds':"
     "1,'selector':{'matchLabels':{'app':'web'},'matchExpressions':[{'key':'app','operator':'In',"
     "'values':['web']}]},'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':'25%',"
     "'maxUnavailable':1}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{"
     "'name':'c','image':'j'}]}}},'status':{'collisionCount':1,'conditions':[{'type':"
     "'Progressing','status':'True','lastUpdateTime':'2020-01-01T00:00:00Z'}]}}"},
    {"replicationcontrollers/shop/c",
     "{'metadata':{'name':'c','namespace':'shop','uid':'u5'},'spec':{'replicas':1,'selector':{'app'"
     ":'web'},'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{'name':'c',"
     "'image':'i'}]}}}}"},
    {"poddisruptionbudgets.policy/shop/b",
     "{'metadata':{'name':'b','namespace':'shop','uid':'u6'},'spec':{'minAvailable':'50%',"
     "'selector':{'matchLabels':{'app':'web'}}},'status':{'disruptedPods':{'p':"
     "'2020-01-01T00:00:00Z'},'conditions':[{'type':'DisruptionAllowed','status':'True'}]}}"},
    {"leases.coordination.k8s.io/kube-node-lease/n1",
     "{'metadata':{'name':'n1','namespace':'kube-node-lease','uid':'u7'},'spec':{'holderIdentity':"
     "'n1','renewTime':'2020-01-01T00:00:00.000000Z','leaseDurationSeconds':40}}"},
};

static struct kb_harness *all_controllers(uint64_t seed)
{
    struct kb_harness *h = kb_harness_new(seed);
    LOAD(h, "deployment");
    LOAD(h, "disruption");
    LOAD(h, "garbagecollector");
    LOAD(h, "namespace");
    LOAD(h, "node");
    LOAD(h, "replicaset");
    LOAD(h, "replicationcontroller");
    LOAD(h, "serviceaccount");
    return h;
}

static void story(uint64_t seed)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = all_controllers(seed);
    struct kb_rand rand;
    kb_rand_init(&rand, seed);
    kb_harness_apply(h, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    for (size_t i = 0; i < KB_COUNT(samples); i++) {
        KB_AUTO(kb_auto_free) char *json = odd_object(samples[i].json, &rand);
        if (getenv("KUBUS_TEST_SHOW"))
            fprintf(stderr, "%llu %s %s\n", (unsigned long long)seed, samples[i].key, json);
        kb_harness_force(h, samples[i].key, json);
    }
    kb_harness_run(h, 120000);
}

KB_TEST(odd, objects_do_not_end_controllers)
{
    const char *from = getenv("KUBUS_TEST_SEED"); /* others than those of the test */
    uint64_t seed = from ? strtoull(from, NULL, 0) : 1;
    for (uint64_t i = 0; i < STORIES; i++)
        story(seed + i);
}
