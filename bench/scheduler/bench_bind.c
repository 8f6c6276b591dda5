/* bench_bind: how fast a cluster's waiting pods are bound, live and durably.
 *
 *     bench_bind [--kubus PROGRAM] [--data DIR] [--nodes N] [--pods N] [--constraints]
 *     bench_bind --follow --data DIR --pods N
 *
 * The pods are plain ones of a service, which are spread over zones and hosts by default; with
 * --constraints they have spread constraints and affinity of their own, both required and
 * preferred.
 *
 * Runs a kernel with a store alone, writes nodes and pods straight into the store, starts a
 * scheduler, and follows the view of pods until each has a node. Prints one JSON line: `per_second`
 * counts from the start of the scheduler's process, `steady_per_second` from the first pod seen
 * bound. */
#include "bench/measure.h"
#include "bus/actor.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/map.h"
#include "bus/loop.h"
#include "bus/model/json.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FLIGHT = 512, TIMEOUT_MS = 60000 };

struct bench {
    const char *kubus, *data;
    uint32_t nodes, pods;
    struct kb_actor *actor;
    struct kb_peer *store;
    struct kb_w body;
    uint32_t written, answered;
    uint32_t bound;
    uint8_t *seen; /* [pod] 1: has a node */
    bool follow, listed;
    struct kb_doc *constraints; /* affinity and topologySpreadConstraints, or NULL */
    struct kb_map names;        /* of pods that have a node, when following */
    double first, last;
    pid_t kernel, scheduler;
};

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_bind: %s: %s\n", what, why);
    exit(1);
}

static pid_t spawn(const struct bench *b, const char *actor)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl(b->kubus, b->kubus, "actor", actor, "--data", b->data, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void reap(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void plan(const struct bench *b)
{
    struct kb_err err = {0};
    const char *text =
        "{\"version\":1,\"actors\":[{\"name\":\"store\",\"argv\":[\"actor\",\"store\"]}]}";
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/cluster.json", b->data);
    if (kb_dir_remove(b->data, &err) < 0 || kb_dir_make(b->data, 0700, &err) < 0 ||
        kb_file_write(path, kb_str_of(text), 0600, &err) < 0)
        die("data folder", err.text);
}

/* ---- objects ---- */

static const char constraints_json[] =
    "{\"topologySpreadConstraints\":[{\"maxSkew\":2,\"topologyKey\":\"topology.kubernetes.io/"
    "zone\","
    "\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}}}"
    ","
    "{\"maxSkew\":1,\"topologyKey\":\"kubernetes.io/hostname\",\"whenUnsatisfiable\":"
    "\"ScheduleAnyway\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}}}],\"affinity\":{"
    "\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":10,"
    "\"podAffinityTerm\":{\"topologyKey\":\"topology.kubernetes.io/zone\",\"labelSelector\":{"
    "\"matchLabels\":{\"app\":\"web\"}}}}]},\"podAntiAffinity\":{"
    "\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":"
    "\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":{\"app\":\"noisy\"}}}]}}}";

static void write_node(struct kb_w *w, uint32_t i)
{
    char name[32];
    snprintf(name, sizeof(name), "hollow-%u", i);
    kb_w_map(w);
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "Node");
    kb_w_kmap(w, "metadata");
    kb_w_kcstr(w, "name", name);
    kb_w_kmap(w, "labels");
    kb_w_kcstr(w, "kubernetes.io/hostname", name);
    kb_w_key(w, "topology.kubernetes.io/zone");
    kb_w_cstr(w, (const char *[]){"a", "b", "c"}[i % 3]);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kmap(w, "status");
    kb_w_kmap(w, "allocatable");
    kb_w_kcstr(w, "cpu", "32");
    kb_w_kcstr(w, "memory", "256Gi");
    kb_w_kcstr(w, "pods", "110");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
}

/* About what the API stores for a plain pod of a ReplicaSet. */
static void write_pod_spec(struct kb_w *w, const struct kb_doc *constraints)
{
    kb_w_kmap(w, "spec");
    for (struct kb_iter it = kb_iter(kb_doc_root(constraints)); kb_iter_next(&it);) {
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
    kb_w_karray(w, "containers");
    kb_w_map(w);
    kb_w_kcstr(w, "name", "main");
    kb_w_kcstr(w, "image", "busybox:latest");
    kb_w_kcstr(w, "imagePullPolicy", "IfNotPresent");
    kb_w_kmap(w, "resources");
    kb_w_kmap(w, "requests");
    kb_w_kcstr(w, "cpu", "100m");
    kb_w_kcstr(w, "memory", "64Mi");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kcstr(w, "terminationMessagePath", "/dev/termination-log");
    kb_w_kcstr(w, "terminationMessagePolicy", "File");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kcstr(w, "dnsPolicy", "ClusterFirst");
    kb_w_kbool(w, "enableServiceLinks", true);
    kb_w_kcstr(w, "preemptionPolicy", "PreemptLowerPriority");
    kb_w_kint(w, "priority", 0);
    kb_w_kcstr(w, "restartPolicy", "Always");
    kb_w_kcstr(w, "schedulerName", "default-scheduler");
    kb_w_kcstr(w, "serviceAccountName", "default");
    kb_w_kint(w, "terminationGracePeriodSeconds", 30);
    kb_w_end(w);
}

static void write_service(struct kb_w *w)
{
    kb_w_map(w);
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "Service");
    kb_w_kmap(w, "metadata");
    kb_w_kcstr(w, "name", "web");
    kb_w_kcstr(w, "namespace", "bench");
    kb_w_end(w);
    kb_w_kmap(w, "spec");
    kb_w_kmap(w, "selector");
    kb_w_kcstr(w, "app", "web");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
}

static void write_pod(struct kb_w *w, uint32_t i, const struct kb_doc *constraints)
{
    char name[32], uid[40];
    snprintf(name, sizeof(name), "web-%u", i);
    snprintf(uid, sizeof(uid), "00000000-0000-4000-8000-%012u", i);
    kb_w_map(w);
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "Pod");
    kb_w_kmap(w, "metadata");
    kb_w_kcstr(w, "name", name);
    kb_w_kcstr(w, "namespace", "bench");
    kb_w_kcstr(w, "uid", uid);
    kb_w_kcstr(w, "creationTimestamp", "2025-01-01T00:00:00Z");
    kb_w_kmap(w, "labels");
    kb_w_kcstr(w, "app", "web");
    kb_w_kcstr(w, "pod-template-hash", "6d4cf56db6");
    kb_w_end(w);
    kb_w_end(w);
    write_pod_spec(w, constraints);
    kb_w_kmap(w, "status");
    kb_w_kcstr(w, "phase", "Pending");
    kb_w_kcstr(w, "qosClass", "Burstable");
    kb_w_end(w);
    kb_w_end(w);
}

/* ---- writing them ---- */

static void write_more(struct bench *b);

static void answered(void *user, const struct kb_err *err, kb_val body)
{
    struct bench *b = user;
    (void)body;
    if (err)
        die("store.txn", err->text);
    b->answered++;
    write_more(b);
}

static void write_more(struct bench *b)
{
    struct kb_w *w = &b->body;
    for (; b->written < 1 + b->nodes + b->pods && b->written - b->answered < FLIGHT; b->written++) {
        char key[64];
        bool service = b->written == 0, node = b->written <= b->nodes;
        uint32_t i = service ? 0 : node ? b->written - 1 : b->written - 1 - b->nodes;
        snprintf(key, sizeof(key),
                 service ? "services/bench/web"
                 : node  ? "nodes//hollow-%u"
                         : "pods/bench/web-%u",
                 i);
        kb_buf_clear(&w->buf);
        kb_w_map(w);
        kb_w_karray(w, "ops");
        kb_w_map(w);
        kb_w_kcstr(w, "op", "put");
        kb_w_kcstr(w, "key", key);
        kb_w_key(w, "doc");
        if (service)
            write_service(w);
        else if (node)
            write_node(w, i);
        else
            write_pod(w, i, b->constraints);
        kb_w_end(w);
        kb_w_end(w);
        kb_w_end(w);
        kb_call(b->store, "store.txn", kb_w_val(w), TIMEOUT_MS, answered, b);
    }
    if (b->answered == 1 + b->nodes + b->pods)
        kb_actor_stopped(b->actor);
}

/* ---- following ---- */

static void followed(void *user, const struct kb_change *change)
{
    struct bench *b = user;
    if (change->op != KB_PUT || kb_val_str_at(change->doc, "spec.nodeName").n == 0 ||
        kb_map_put(&b->names, change->key, b) != NULL || !b->listed)
        return;
    if (++b->bound == b->pods)
        kb_actor_stopped(b->actor);
}

static void follow_synced(void *user, int64_t rev)
{
    struct bench *b = user;
    (void)rev;
    if (!b->listed)
        puts("following");
    b->listed = true;
    fflush(stdout);
}

static void changed(void *user, const struct kb_change *change)
{
    struct bench *b = user;
    if (change->op != KB_PUT || kb_val_str_at(change->doc, "spec.nodeName").n == 0)
        return;
    uint64_t i = 0;
    kb_str name = kb_val_str_at(change->doc, "metadata.name");
    if (!kb_str_u64(kb_str_n(name.p + 4, name.n - 4), &i) || i >= b->pods || b->seen[i])
        return;
    b->seen[i] = 1;
    b->last = bench_seconds();
    b->first = b->bound++ == 0 ? b->last : b->first;
    if (b->bound == b->pods)
        kb_actor_stopped(b->actor);
}

static void synced(void *user, int64_t rev)
{
    struct bench *b = user;
    (void)rev;
    if (b->scheduler == 0)
        kb_actor_stopped(b->actor); /* the listing is complete */
}

static void give_up(void *user)
{
    struct bench *b = user;
    reap(b->scheduler);
    reap(b->kernel);
    fprintf(stderr, "bench_bind: %u of %u written, %u bound\n", b->answered, b->nodes + b->pods,
            b->bound);
    exit(1);
}

static void run_until_stopped(struct bench *b)
{
    struct kb_err err = {0};
    struct kb_loop_timer timer = {.fn = give_up, .user = b};
    kb_loop_timer_set(kb_actor_loop(b->actor), &timer, TIMEOUT_MS);
    if (kb_actor_run(b->actor, &err) < 0)
        die("run", err.text);
    kb_loop_timer_stop(kb_actor_loop(b->actor), &timer);
}

static void measure(struct bench *b)
{
    static const struct kb_view_handlers handlers = {changed, synced};
    struct kb_err err = {0};
    struct kb_actor_config config = {.name = "bench-bind", .data_dir = b->data, .standalone = true};
    plan(b);
    b->kernel = spawn(b, "kernel");
    if (kb_actor_new(&config, &b->actor, &err) < 0)
        die("actor", err.text);
    b->store = kb_actor_peer(b->actor, "store");
    double start = bench_seconds();
    write_more(b);
    run_until_stopped(b);
    double wrote = bench_seconds() - start;
    struct kb_view *view = kb_view_open(b->actor, "pods", NULL, &handlers, b);
    run_until_stopped(b);
    double begin = bench_seconds();
    b->scheduler = spawn(b, "scheduler");
    run_until_stopped(b);
    printf(
        "{\"bench\":\"bind\",\"constraints\":%s,\"nodes\":%u,\"pods\":%u,\"write_per_second\":%.0f,"
        "\"first_ms\":%.1f,\"seconds\":%.3f,\"per_second\":%.0f,\"steady_per_second\":%.0f}\n",
        b->constraints ? "true" : "false", b->nodes, b->pods, (b->nodes + b->pods) / wrote,
        (b->first - begin) * 1e3, b->last - begin, b->pods / (b->last - begin),
        b->pods / (b->last - b->first));
    kb_view_close(&view);
    kb_actor_destroy(&b->actor);
    reap(b->scheduler);
    reap(b->kernel);
    kb_dir_remove(b->data, NULL);
}

static void follow(struct bench *b)
{
    static const struct kb_view_handlers handlers = {followed, follow_synced};
    struct kb_err err = {0};
    struct kb_actor_config config = {
        .name = "bench-follow", .data_dir = b->data, .standalone = true};
    if (kb_actor_new(&config, &b->actor, &err) < 0)
        die("actor", err.text);
    struct kb_view *view = kb_view_open(b->actor, "pods", NULL, &handlers, b);
    run_until_stopped(b);
    printf("%.6f\n", bench_seconds());
    kb_view_close(&view);
    kb_actor_destroy(&b->actor);
    kb_map_finish(&b->names);
}

static void constrain(struct bench *b)
{
    struct kb_err err = {0};
    if (kb_json_doc(kb_str_of(constraints_json), &b->constraints, &err) < 0)
        die("constraints", err.text);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"kubus", required_argument, NULL, 'k'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"nodes", required_argument, NULL, 'n'},
                                            {"pods", required_argument, NULL, 'p'},
                                            {"follow", no_argument, NULL, 'f'},
                                            {"constraints", no_argument, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    KB_AUTO(kb_auto_free) char *data = kb_strf("/tmp/kubus-bench-bind-%d", getpid());
    struct bench b = {.kubus = "build/bin/kubus", .data = data, .nodes = 1000, .pods = 10000};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'k')
            b.kubus = optarg;
        else if (c == 'f')
            b.follow = true;
        else if (c == 'c')
            constrain(&b);
        else if (c == 'd')
            b.data = optarg;
        else if (c == 'n')
            b.nodes = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'p')
            b.pods = (uint32_t)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    b.seen = calloc(b.pods + 1, 1);
    KB_ASSERT(b.seen != NULL);
    if (b.follow)
        follow(&b);
    else
        measure(&b);
    free(b.seen);
    kb_doc_destroy(&b.constraints);
    kb_w_finish(&b.body);
    return 0;
}
