/* VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits against a slow, obvious
 * reference on random clusters: claims, volumes, classes, limits, nodes and pods come, change and
 * go in random order; after every step the core must say of every node what the rules say, and so
 * must a core that is built afresh from what is left. */
#include "tests/lib/subject.h"
#include "tests/lib/test.h"

#include "bus/base/rand.h"

#include <stdlib.h>

enum { NODES = 8, PODS = 20, CLAIMS = 10, VOLUMES = 8, CLASSES = 3, STEPS = 900, ZONES = 3 };

struct node {
    bool there;
    int zone;  /* -1: no label */
    int limit; /* -1: none */
};

struct volume {
    bool there, available, csi, read_many, block;
    int class, size, reach, label; /* reach, label: zone, -1: anywhere, none */
    int kept_for;                  /* claim, -1: nobody */
};

struct claim {
    bool there, lost, ending, settled, one_pod, many, block;
    int class, size, volume, selected; /* -1: none */
};

struct class
{
    bool there, delayed, makes;
    int allowed; /* zone, -1: anywhere */
};

struct pod {
    bool there;
    int node, claims[2]; /* -1: none */
    int disk;            /* -1: none */
    bool reads;
};

struct world {
    struct kb_rand rand;
    struct node nodes[NODES];
    struct volume volumes[VOLUMES];
    struct claim claims[CLAIMS];
    struct class classes[CLASSES];
    struct pod pods[PODS];
};

static int pick(struct world *w, int n)
{
    return (int)kb_rand_below(&w->rand, (uint64_t)n);
}

static int maybe(struct world *w, int n)
{
    return pick(w, n + 1) - 1;
}

/* ---- as objects ---- */

static void tell(struct kb_subject *s, const char *resource, const char *ns, const char *prefix,
                 int i, const char *json)
{
    char name[16];
    snprintf(name, sizeof(name), "%s%d", prefix, i);
    kb_subject_object(s, resource, ns, name, json);
}

static void tell_node(const struct world *w, struct kb_subject *s, int i)
{
    const struct node *n = &w->nodes[i];
    char text[256], zone[64] = "";
    if (n->zone >= 0)
        snprintf(zone, sizeof(zone), "'topology.kubernetes.io/zone': 'z%d'", n->zone);
    snprintf(text, sizeof(text), "{'metadata': {'labels': {%s}}}", zone);
    kb_subject_node(s, i, n->there ? text : NULL);
    snprintf(text, sizeof(text),
             "{'spec': {'drivers': [{'name': 'csi', 'allocatable': {'count': %d}}]}}", n->limit);
    tell(s, "csinodes.storage.k8s.io", "", "n", i, n->there && n->limit >= 0 ? text : NULL);
}

static void tell_class(const struct world *w, struct kb_subject *s, int i)
{
    const struct class *c = &w->classes[i];
    char text[512], allowed[256] = "";
    if (c->allowed >= 0)
        snprintf(allowed, sizeof(allowed),
                 ", 'allowedTopologies': [{'matchLabelExpressions': [{'key': "
                 "'topology.kubernetes.io/zone', 'values': ['z%d']}]}]",
                 c->allowed);
    snprintf(text, sizeof(text), "{'volumeBindingMode': '%s', 'provisioner': '%s'%s}",
             c->delayed ? "WaitForFirstConsumer" : "Immediate",
             c->makes ? "csi" : "kubernetes.io/no-provisioner", allowed);
    tell(s, "storageclasses.storage.k8s.io", "", "s", i, c->there ? text : NULL);
}

static void tell_volume(const struct world *w, struct kb_subject *s, int i)
{
    const struct volume *v = &w->volumes[i];
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    kb_buf_puts(&b, "{'metadata': {'labels': {'a': 'b'");
    if (v->label >= 0)
        kb_buf_printf(&b, ", 'topology.kubernetes.io/zone': 'z%d'", v->label);
    kb_buf_printf(&b,
                  "}}, 'spec': {'capacity': {'storage': '%dGi'}, 'storageClassName': 's%d', "
                  "'accessModes': ['ReadWriteOnce'%s], 'volumeMode': '%s'",
                  v->size, v->class, v->read_many ? ", 'ReadWriteMany', 'ReadWriteOncePod'" : "",
                  v->block ? "Block" : "Filesystem");
    if (v->reach >= 0)
        kb_buf_printf(&b,
                      ", 'nodeAffinity': {'required': {'nodeSelectorTerms': [{'matchExpressions': "
                      "[{'key': 'topology.kubernetes.io/zone', 'operator': 'In', 'values': "
                      "['z%d']}]}]}}",
                      v->reach);
    if (v->kept_for >= 0)
        kb_buf_printf(&b, ", 'claimRef': {'namespace': 'x', 'name': 'c%d'}", v->kept_for);
    if (v->csi)
        kb_buf_printf(&b, ", 'csi': {'driver': 'csi', 'volumeHandle': 'h%d'}", i);
    kb_buf_printf(&b, "}, 'status': {'phase': '%s'}}", v->available ? "Available" : "Bound");
    tell(s, "persistentvolumes", "", "v", i, v->there ? b.p : NULL);
}

static void tell_claim(const struct world *w, struct kb_subject *s, int i)
{
    const struct claim *c = &w->claims[i];
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    kb_buf_puts(&b, "{'metadata': {'annotations': {'a': 'b'");
    if (c->settled)
        kb_buf_puts(&b, ", 'pv.kubernetes.io/bind-completed': 'yes'");
    if (c->selected >= 0)
        kb_buf_printf(&b, ", 'volume.kubernetes.io/selected-node': 'n%d'", c->selected);
    kb_buf_printf(&b, "}%s}, 'spec': {'resources': {'requests': {'storage': '%dGi'}}",
                  c->ending ? ", 'deletionTimestamp': '2025-01-01T00:00:00Z'" : "", c->size);
    kb_buf_printf(&b, ", 'accessModes': ['%s'], 'volumeMode': '%s'",
                  c->one_pod ? "ReadWriteOncePod"
                  : c->many  ? "ReadWriteMany"
                             : "ReadWriteOnce",
                  c->block ? "Block" : "Filesystem");
    if (c->class >= 0)
        kb_buf_printf(&b, ", 'storageClassName': 's%d'", c->class);
    if (c->volume >= 0)
        kb_buf_printf(&b, ", 'volumeName': 'v%d'", c->volume);
    kb_buf_printf(&b, "}, 'status': {'phase': '%s'}}", c->lost ? "Lost" : "Pending");
    tell(s, "persistentvolumeclaims", "x", "c", i, c->there ? b.p : NULL);
}

static void pod_json(const struct pod *p, struct kb_buf *b)
{
    kb_buf_puts(b, "{'metadata': {'namespace': 'x'}, 'spec': {'volumes': [{'emptyDir': {}}");
    for (int i = 0; i < 2; i++)
        if (p->claims[i] >= 0)
            kb_buf_printf(b, ", {'persistentVolumeClaim': {'claimName': 'c%d'}}", p->claims[i]);
    if (p->disk >= 0)
        kb_buf_printf(b, ", {'iscsi': {'iqn': 'd%d', 'readOnly': %s}}", p->disk,
                      p->reads ? "true" : "false");
    kb_buf_puts(b, "]}}");
}

/* ---- the reference ---- */

/* for each claim that the pod uses */
#define EACH_CLAIM(w, p, k, c)                                                                     \
    for (int k = 0; k < 2; k++)                                                                    \
        for (const struct claim *c = (p)->claims[k] < 0 ? NULL : &(w)->claims[(p)->claims[k]];     \
             c != NULL; c = NULL)

static bool unbound_waits(const struct world *w, const struct claim *c)
{
    return c->class >= 0 && w->classes[c->class].there && w->classes[c->class].delayed &&
           c->volume < 0;
}

static bool is_bound(const struct claim *c)
{
    return c->volume >= 0 && c->settled;
}

/* Why no node will do, in the order in which policies are asked. */
static bool nowhere(const struct world *w, const struct pod *p, struct kb_buf *out)
{
    EACH_CLAIM(w, p, k, c)
    if (!c->there) {
        kb_buf_printf(out, "VolumeRestrictions: persistentvolumeclaim \"c%d\" not found",
                      p->claims[k]);
        return true;
    }
    EACH_CLAIM(w, p, k, c)
    if (c->lost || c->ending) {
        kb_buf_printf(out, "VolumeBinding: persistentvolumeclaim \"c%d\" ", p->claims[k]);
        if (!c->lost)
            kb_buf_puts(out, "is being deleted");
        else if (c->volume >= 0)
            kb_buf_printf(out, "bound to non-existent persistentvolume \"v%d\"", c->volume);
        else
            kb_buf_puts(out, "bound to non-existent persistentvolume \"\"");
        return true;
    }
    EACH_CLAIM(w, p, k, c)
    if (!is_bound(c) && !unbound_waits(w, c)) {
        kb_buf_puts(out, "VolumeBinding: pod has unbound immediate PersistentVolumeClaims");
        return true;
    }
    EACH_CLAIM(w, p, k, c)
    if (c->volume >= 0 && !w->volumes[c->volume].there) {
        kb_buf_printf(out, "VolumeZone: persistentvolume \"v%d\" not found", c->volume);
        return true;
    }
    return false;
}

static const char *restricted(const struct world *w, const struct pod *p, int node)
{
    for (int i = 0; i < PODS; i++) {
        const struct pod *o = &w->pods[i];
        if (o->there && o->node == node && p->disk >= 0 && o->disk == p->disk &&
            !(o->reads && p->reads))
            return "VolumeRestrictions: node(s) had no available disk";
    }
    EACH_CLAIM(w, p, k, c)
    for (int i = 0; i < PODS; i++)
        if (c->one_pod && w->pods[i].there &&
            (w->pods[i].claims[0] == p->claims[k] || w->pods[i].claims[1] == p->claims[k]))
            return "VolumeRestrictions: node has pod using PersistentVolumeClaim with the same "
                   "name and ReadWriteOncePod access mode";
    return NULL;
}

/* What the driver attaches for a claim: a volume 0 …, or 100 + a claim; -1: nothing. */
static int attached_for(const struct world *w, int claim)
{
    const struct claim *c = &w->claims[claim];
    if (!c->there)
        return -1;
    if (c->volume >= 0 && w->volumes[c->volume].there)
        return w->volumes[c->volume].csi ? c->volume : -1;
    bool makes = c->class >= 0 && w->classes[c->class].there && w->classes[c->class].makes;
    return makes ? 100 + claim : -1;
}

static bool exceeds(const struct world *w, const struct pod *p, int node)
{
    bool on[100 + CLAIMS] = {0};
    int n = 0, more = 0;
    for (int i = 0; i < PODS; i++)
        for (int k = 0; k < 2; k++) {
            const struct pod *o = &w->pods[i];
            int a = o->there && o->node == node && o->claims[k] >= 0 ? attached_for(w, o->claims[k])
                                                                     : -1;
            n += a >= 0 && !on[a];
            if (a >= 0)
                on[a] = true;
        }
    for (int k = 0; k < 2; k++) {
        int a = p->claims[k] >= 0 ? attached_for(w, p->claims[k]) : -1;
        more += a >= 0 && !on[a];
        if (a >= 0)
            on[a] = true;
    }
    return w->nodes[node].limit >= 0 && more > 0 && n + more > w->nodes[node].limit;
}

static bool reaches(const struct world *w, int node, const struct volume *v)
{
    return v->reach < 0 || w->nodes[node].zone == v->reach;
}

/* The volume that a claim takes on a node; -1: none. */
static int chosen_for(const struct world *w, int claim, int node, const bool taken[VOLUMES])
{
    const struct claim *c = &w->claims[claim];
    int best = -1;
    for (int i = 0; i < VOLUMES; i++) {
        const struct volume *v = &w->volumes[i];
        if (!v->there || v->class != c->class || v->block != c->block || v->size < c->size ||
            (v->kept_for >= 0 && v->kept_for != claim))
            continue;
        if (v->kept_for == claim)
            return reaches(w, node, v) && !taken[i] ? i : -1;
    }
    for (int i = 0; i < VOLUMES; i++) {
        const struct volume *v = &w->volumes[i];
        if (!v->there || v->class != c->class || v->block != c->block || v->size < c->size ||
            v->kept_for >= 0 || !v->available || taken[i] || !reaches(w, node, v) ||
            ((c->many || c->one_pod) && !v->read_many))
            continue;
        if (best < 0 || v->size < w->volumes[best].size)
            best = i;
    }
    return best;
}

static bool binds(const struct world *w, const struct pod *p, int node)
{
    bool taken[VOLUMES] = {0};
    int order[2] = {p->claims[0], p->claims[1]};
    if (order[0] >= 0 && order[1] >= 0 && w->claims[order[1]].size < w->claims[order[0]].size) {
        order[0] = p->claims[1];
        order[1] = p->claims[0];
    }
    for (int k = 0; k < 2; k++) {
        const struct claim *c = order[k] < 0 ? NULL : &w->claims[order[k]];
        if (c && !is_bound(c) && c->selected >= 0 && c->selected != node)
            return false;
    }
    for (int k = 0; k < 2; k++) {
        const struct claim *c = order[k] < 0 ? NULL : &w->claims[order[k]];
        if (c == NULL || is_bound(c))
            continue;
        const struct class *class = &w->classes[c->class];
        int volume = c->selected < 0 ? chosen_for(w, order[k], node, taken) : -1;
        if (volume >= 0)
            taken[volume] = true;
        else if (!class->makes || (class->allowed >= 0 && w->nodes[node].zone != class->allowed))
            return false;
    }
    return true;
}

static void judge(const struct world *w, const struct pod *p, int node, struct kb_buf *out)
{
    bool reached = true, zone = true;
    kb_buf_clear(out);
    kb_buf_puts(out, "");
    if (nowhere(w, p, out))
        return;
    const char *why = restricted(w, p, node);
    if (why != NULL || exceeds(w, p, node)) {
        kb_buf_puts(out, why ? why : "NodeVolumeLimits: node(s) exceed max volume count");
        return;
    }
    EACH_CLAIM(w, p, k, c)
    {
        if (!is_bound(c))
            continue;
        const struct volume *v = &w->volumes[c->volume];
        reached &= reaches(w, node, v);
        zone &= v->label < 0 || w->nodes[node].zone < 0 || v->label == w->nodes[node].zone;
    }
    bool found = binds(w, p, node);
    if (!reached || !found)
        kb_buf_printf(out, "VolumeBinding: %s%s%s",
                      reached ? "" : "node(s) had volume node affinity conflict",
                      reached || found ? "" : "; ",
                      found ? "" : "node(s) didn't find available persistent volumes to bind");
    else if (!zone)
        kb_buf_puts(out, "VolumeZone: node(s) had no available volume zone");
}

/* ---- comparing ---- */

static void compare(const struct world *w, struct kb_subject *s, const struct pod *p)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0}, want = {0}, got = {0};
    kb_val of[NODES];
    int known;
    pod_json(p, &json);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_subject_explain(s, json.p, of, NODES, &known);
    for (int i = 0; i < NODES; i++) {
        KB_CHECK(w->nodes[i].there == kb_val_present(of[i]));
        if (!w->nodes[i].there)
            continue;
        judge(w, p, i, &want);
        kb_subject_why(of[i], &got);
        KB_CHECK_STR(got.p, want.p);
    }
}

/* ---- events ---- */

static void put_pod(const struct world *w, struct kb_subject *s, int i)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    pod_json(&w->pods[i], &json);
    kb_subject_put(s, i, w->pods[i].node, json.p, 0);
}

static void random_pod(struct world *w, struct pod *p)
{
    p->node = pick(w, NODES);
    p->claims[0] = maybe(w, CLAIMS);
    p->claims[1] = pick(w, 2) ? -1 : maybe(w, CLAIMS);
    p->claims[1] = p->claims[1] == p->claims[0] ? -1 : p->claims[1];
    p->disk = pick(w, 3) ? -1 : pick(w, 2);
    p->reads = pick(w, 2);
}

static void random_volume(struct world *w, int i)
{
    w->volumes[i] = (struct volume){.there = pick(w, 6) > 0,
                                    .available = pick(w, 4) > 0,
                                    .csi = pick(w, 2),
                                    .read_many = pick(w, 2),
                                    .block = pick(w, 6) == 0,
                                    .class = pick(w, CLASSES),
                                    .size = 10 * (1 + pick(w, 9)) + i, /* no two are equal */
                                    .reach = pick(w, 2) ? -1 : pick(w, ZONES),
                                    .label = pick(w, 2) ? -1 : pick(w, ZONES),
                                    .kept_for = pick(w, 5) ? -1 : pick(w, CLAIMS)};
    for (int k = 0; k < VOLUMES; k++) /* a claim has one volume that is kept for it */
        if (k != i && w->volumes[k].kept_for == w->volumes[i].kept_for)
            w->volumes[i].kept_for = -1;
}

static void random_claim(struct world *w, int i)
{
    w->claims[i] = (struct claim){.there = pick(w, 8) > 0,
                                  .lost = pick(w, 12) == 0,
                                  .ending = pick(w, 12) == 0,
                                  .one_pod = pick(w, 4) == 0,
                                  .many = pick(w, 4) == 0,
                                  .block = pick(w, 8) == 0,
                                  .class = pick(w, 10) ? pick(w, CLASSES) : -1,
                                  .size = 10 * (1 + pick(w, 6)) + i,
                                  .volume = pick(w, 2) ? -1 : pick(w, VOLUMES),
                                  .selected = -1};
    w->claims[i].settled = w->claims[i].volume >= 0 && pick(w, 6) > 0;
    if (w->claims[i].volume < 0 && pick(w, 6) == 0)
        w->claims[i].selected = pick(w, NODES);
}

static void step_pod(struct world *w, struct kb_subject *s, int i)
{
    struct pod *p = &w->pods[i];
    p->there = !p->there;
    if (!p->there) {
        kb_subject_lift(s, i);
        return;
    }
    random_pod(w, p);
    put_pod(w, s, i);
}

static void step(struct world *w, struct kb_subject *s)
{
    int what = pick(w, 10), i;
    if (what == 0) {
        i = pick(w, NODES);
        w->nodes[i] = (struct node){pick(w, 5) > 0, maybe(w, ZONES), maybe(w, 4)};
        tell_node(w, s, i);
    } else if (what == 1) {
        i = pick(w, CLASSES);
        w->classes[i] = (struct class){pick(w, 10) > 0, pick(w, 4) > 0, pick(w, 2),
                                       pick(w, 2) ? -1 : pick(w, ZONES)};
        tell_class(w, s, i);
    } else if (what < 4) {
        i = pick(w, VOLUMES);
        random_volume(w, i);
        tell_volume(w, s, i);
    } else if (what < 6) {
        i = pick(w, CLAIMS);
        random_claim(w, i);
        tell_claim(w, s, i);
    } else {
        step_pod(w, s, pick(w, PODS));
    }
}

static struct kb_subject new_subject(uint64_t seed)
{
    static const char *const names[] = {"PrioritySort", "VolumeRestrictions", "NodeVolumeLimits",
                                        "VolumeBinding", "VolumeZone"};
    struct kb_profile_entry entries[KB_COUNT(names)] = {{0}};
    for (size_t i = 0; i < KB_COUNT(names); i++)
        entries[i].policy = kb_policy_builtin(names[i]);
    return kb_subject_new(seed, entries, KB_COUNT(names), PODS);
}

static void compare_rebuilt(struct world *w)
{
    KB_AUTO(kb_subject_finish) struct kb_subject fresh = new_subject(1);
    for (int i = PODS - 1; i >= 0; i--)
        if (w->pods[i].there)
            put_pod(w, &fresh, i);
    for (int i = CLAIMS - 1; i >= 0; i--)
        tell_claim(w, &fresh, i);
    for (int i = VOLUMES - 1; i >= 0; i--)
        tell_volume(w, &fresh, i);
    for (int i = 0; i < CLASSES; i++)
        tell_class(w, &fresh, i);
    for (int i = 0; i < NODES; i++)
        tell_node(w, &fresh, i);
    for (int i = 0; i < 20; i++) {
        struct pod p = {0};
        random_pod(w, &p);
        compare(w, &fresh, &p);
    }
}

KB_TEST(volumes_property, says_what_the_reference_says)
{
    uint64_t seed = kb_test_seed();
    struct world *w = calloc(1, sizeof(*w));
    struct pod asked[8] = {{0}};
    kb_rand_init(&w->rand, seed);
    KB_AUTO(kb_subject_finish) struct kb_subject s = new_subject(seed);
    for (size_t i = 0; i < KB_COUNT(asked); i++)
        random_pod(w, &asked[i]);
    for (int i = 0; i < STEPS; i++) {
        step(w, &s);
        compare(w, &s, &asked[pick(w, KB_COUNT(asked))]);
        if (i % 20 == 19)
            random_pod(w, &asked[pick(w, KB_COUNT(asked))]);
        if (i % 300 == 299)
            compare_rebuilt(w);
    }
    free(w);
}
