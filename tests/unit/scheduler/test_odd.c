/* Objects of no shape at all: whoever reaches the store can put any map there, and the scheduler
 * reads it, again after each restart. */
#include "tests/lib/odd.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

enum { STORIES = 300 };

static const char node[] =
    "{'metadata':{'name':'n1','uid':'u1','labels':{'zone':'a','kubernetes.io/hostname':'n1'}},"
    "'spec':{'unschedulable':false,'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]},"
    "'status':{'allocatable':{'cpu':'4','memory':'8Gi','pods':'10','a.b/"
    "c':'2'},'images':[{'names':["
    "'i','j'],'sizeBytes':100}],'volumesAttached':[{'name':'x','devicePath':''}],'conditions':[]}}";

static const char pod[] =
    "{'metadata':{'name':'p','namespace':'x','uid':'u2','labels':{'app':'web'},'annotations':{'a':"
    "'b'},'creationTimestamp':'2020-01-01T00:00:00Z','ownerReferences':[{'kind':'ReplicaSet',"
    "'apiVersion':'apps/v1','name':'r','uid':'u3','controller':true}]},'spec':{'priority':5,"
    "'preemptionPolicy':'PreemptLowerPriority','nodeSelector':{'zone':'a'},'schedulerName':"
    "'default-scheduler','schedulingGates':[],'overhead':{'cpu':'1m'},'tolerations':[{'key':'k',"
    "'operator':'Equal','value':'v','effect':'NoSchedule'}],'affinity':{'nodeAffinity':{"
    "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{'matchExpressions':[{"
    "'key':'zone','operator':'In','values':['a']}]}]},"
    "'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':1,'preference':{'matchFields':[{"
    "'key':'metadata.name','operator':'In','values':['n1']}]}}]},'podAntiAffinity':{"
    "'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'zone','labelSelector':{"
    "'matchLabels':{'app':'web'}},'namespaceSelector':{},'matchLabelKeys':['app']}]}},"
    "'topologySpreadConstraints':[{'maxSkew':1,'minDomains':1,'topologyKey':'zone',"
    "'whenUnsatisfiable':'DoNotSchedule','labelSelector':{'matchLabels':{'app':'web'}},"
    "'matchLabelKeys':['app']}],'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'c'}},{"
    "'name':'e','ephemeral':{'volumeClaimTemplate':{}}},{'name':'g','gcePersistentDisk':{'pdName':"
    "'d','readOnly':true}}],'initContainers':[{'restartPolicy':'Always','resources':{'requests':{"
    "'cpu':'1m'}}}],'containers':[{'image':'i','ports':[{'hostPort':80,'protocol':'TCP','hostIP':"
    "''}],'resources':{'requests':{'cpu':'1','memory':'1Gi','a.b/c':'1'},'limits':{}}}]},'status':{"
    "'phase':'Pending','nominatedNodeName':'n1','conditions':[{'type':'PodScheduled','status':"
    "'False','reason':'Unschedulable'}]}}";

static const char bound[] =
    "{'metadata':{'name':'q','namespace':'x','uid':'u9','labels':{'app':'web'},'deletionTimestamp':"
    "'2020-01-01T00:00:00Z'},'spec':{'nodeName':'n1','priority':-5,'affinity':{'podAffinity':{"
    "'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'zone','labelSelector':{"
    "'matchExpressions':[{'key':'app','operator':'Exists'}]}}]}},'containers':[{'ports':[{"
    "'hostPort':80}],'resources':{'requests':{'cpu':'2'}}}]},'status':{'phase':'Running'}}";

static const struct sample {
    const char *key, *json;
} others[] = {
    {"namespaces//x", "{'metadata':{'name':'x','labels':{'a':'b'}}}"},
    {"poddisruptionbudgets.policy/x/b",
     "{'metadata':{'name':'b','namespace':'x'},'spec':{'selector':{'matchLabels':{'app':'web'}}},"
     "'status':{'disruptionsAllowed':1,'disruptedPods':{'p':'2020-01-01T00:00:00Z'}}}"},
    {"persistentvolumeclaims/x/c",
     "{'metadata':{'name':'c','namespace':'x','uid':'u4','annotations':{"
     "'pv.kubernetes.io/bind-completed':'yes'}},'spec':{'volumeName':'v','storageClassName':'s',"
     "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}},'selector':{"
     "'matchLabels':{'a':'b'}}},'status':{'phase':'Bound'}}"},
    {"persistentvolumes//v",
     "{'metadata':{'name':'v','labels':{'topology.kubernetes.io/zone':'a__b'}},'spec':{"
     "'storageClassName':'s','capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce'],"
     "'claimRef':{'namespace':'x','name':'c','uid':'u4'},'csi':{'driver':'d','volumeHandle':'h'},"
     "'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'zone',"
     "'operator':'In','values':['a']}]}]}}},'status':{'phase':'Bound'}}"},
    {"storageclasses.storage.k8s.io//s",
     "{'metadata':{'name':'s'},'provisioner':'d','volumeBindingMode':'WaitForFirstConsumer',"
     "'allowedTopologies':[{'matchLabelExpressions':[{'key':'zone','values':['a']}]}]}"},
    {"csinodes.storage.k8s.io//n1",
     "{'metadata':{'name':'n1'},'spec':{'drivers':[{'name':'d','nodeID':'i','allocatable':{"
     "'count':1},'topologyKeys':['zone']}]}}"},
    {"services/x/s", "{'metadata':{'name':'s','namespace':'x'},'spec':{'selector':{'app':'web'}}}"},
    {"replicasets.apps/x/r",
     "{'metadata':{'name':'r','namespace':'x','uid':'u3'},'spec':{'selector':{'matchLabels':{'app':"
     "'web'}}}}"},
};

static struct kb_doc *odd_doc(const char *sample, struct kb_rand *rand)
{
    KB_AUTO(kb_auto_free) char *json = odd_object(sample, rand);
    if (getenv("KUBUS_TEST_SHOW"))
        fprintf(stderr, "%s\n", json);
    return kb_ptest_json(json);
}

static void tell_others(struct world *w, struct kb_rand *rand)
{
    for (size_t i = 0; i < KB_COUNT(others); i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = odd_doc(others[i].json, rand);
        kb_sched_object_put(w->sched, kb_str_of(others[i].key), kb_doc_root(doc));
    }
}

static void story(uint64_t seed)
{
    KB_AUTO(world_end) struct world w;
    struct kb_rand rand;
    if (getenv("KUBUS_TEST_SHOW"))
        fprintf(stderr, "story %llu\n", (unsigned long long)seed);
    kb_rand_init(&rand, seed);
    world_start(&w);
    tell_others(&w, &rand);
    world_store(&w, "nodes//n1", odd_doc(node, &rand));
    world_store(&w, "pods/x/q", odd_doc(bound, &rand));
    world_store(&w, "pods/x/p", odd_doc(pod, &rand));
    world_settle(&w);
    tell_others(&w, &rand);
    world_store(&w, "pods/x/p", odd_doc(pod, &rand));
    world_store(&w, "nodes//n2", odd_doc(node, &rand));
    world_after(&w, 20000);
    world_store(&w, "pods/x/q", NULL);
    world_store(&w, "nodes//n1", NULL);
    world_settle(&w);
}

KB_TEST(odd, objects_do_not_end_the_scheduler)
{
    const char *from = getenv("KUBUS_TEST_SEED"); /* others than those of the test */
    uint64_t seed = from ? strtoull(from, NULL, 0) : 1;
    for (uint64_t i = 0; i < STORIES; i++)
        story(seed + i);
}
