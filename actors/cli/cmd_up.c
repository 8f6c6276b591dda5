/* cmd_up.c - `kubus up`: make or refresh the plan, start kubusd, show how the actors come up. */
#include "actors/cli/cluster.h"
#include "actors/cli/command.h"
#include "actors/cli/plan.h"
#include "actors/cli/policies.h"
#include "actors/cli/tool.h"
#include "bus/base/clock.h"
#include "bus/base/file.h"
#include "bus/base/map.h"
#include "bus/model/json.h"

#include <errno.h>
#include <poll.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UP_TIMEOUT_MS = 180000, UP_POLL_MS = 10 };

static const char *const default_controllers[] = {
    "deployment", "replicaset",       "replicationcontroller", "node",
    "namespace",  "garbagecollector", "serviceaccount",        "disruption",
};

struct up {
    const struct kb_command *command;
    const char *data_option;
    char *data, *listen;
    bool detach;
    struct kb_opt_list images;
    const char *scheduler_config;
    struct kb_plan_options plan;
    char cluster_id[9], cidr[32];
    struct kb_arena arena;
    size_t actors; /* that the plan has */
    pid_t kernel;
    kb_ms started;
};

static void up_finish(struct up *up)
{
    free(up->data);
    free(up->listen);
    kb_arena_finish(&up->arena);
}

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t none;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The pods' range stays what the cluster was made with: addresses are in use. */
static void choose_cidr(struct up *up)
{
    struct kb_node *old = NULL;
    if (up->plan.pod_cidr)
        return;
    if (kb_cluster_plan(up->data, &up->arena, &old, NULL) == 0)
        kb_str_copy(kb_node_text_at(old, "podCIDR"), up->cidr, sizeof(up->cidr));
    if (up->cidr[0] == '\0')
        kb_cluster_free_cidr(up->cidr);
    up->plan.pod_cidr = up->cidr;
}

/* ADDR:0: any free port, which the cluster then has for good. */
static int choose_port(struct up *up, struct kb_err *err)
{
    const char *colon = strrchr(up->plan.listen, ':');
    if (colon == NULL || strcmp(colon, ":0") != 0)
        return 0;
    kb_str host = kb_str_n(up->plan.listen, (size_t)(colon - up->plan.listen));
    int port = kb_cluster_free_port(host);
    if (port == 0)
        return kb_err_set(err, KB_EUNAVAILABLE, "no port is free on '" KB_STR_FMT "'",
                          KB_STR_ARG(host));
    up->listen = kb_strf(KB_STR_FMT ":%d", KB_STR_ARG(host), port);
    up->plan.listen = up->listen;
    return 0;
}

static int write_plan(struct up *up, struct kb_err *err)
{
    static const char *const folders[] = {"", "logs", "run"};
    KB_AUTO(kb_auto_free) char *path = kb_cluster_path(up->data, "cluster.json");
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    for (size_t i = 0; i < KB_COUNT(folders); i++) {
        KB_AUTO(kb_auto_free) char *folder = kb_cluster_path(up->data, folders[i]);
        if (kb_dir_make(folder, 0700, err) < 0) /* what pods print and write is in there */
            return -err->code;
    }
    choose_cidr(up);
    if (choose_port(up, err) < 0)
        return -err->code;
    kb_plan_cluster_id(up->data, up->cluster_id);
    up->plan.cluster_id = up->cluster_id;
    up->plan.images = up->images.items;
    up->plan.images_count = up->images.count;
    if (kb_plan_check(&up->plan, err) < 0)
        return -err->code;
    struct kb_node *plan = kb_plan_make(&up->arena, &up->plan);
    up->actors = kb_node_get(plan, "actors")->count;
    kb_json_write_node(&text, plan, KB_JSON_PRETTY);
    return kb_file_write(path, kb_buf_str(&text), 0640, err);
}

/* Print the actors that became ready since the last look; how many are by now. */
static size_t show_ready(kb_val status, struct kb_map *shown)
{
    for (struct kb_iter it = kb_iter(kb_val_get(status, "actors")); kb_iter_next(&it);) {
        kb_str name = kb_val_str_at(it.val, "name");
        if (!kb_str_is(kb_val_str_at(it.val, "state"), "ready") || kb_map_get(shown, name))
            continue;
        kb_map_put(shown, name, shown);
        printf("  %-24.*s ready in %4lld ms\n", KB_STR_ARG(name),
               (long long)kb_val_int_at(it.val, "ready_ms", 0));
        fflush(stdout);
    }
    return shown->count;
}

static void show_late(kb_val status)
{
    for (struct kb_iter it = kb_iter(kb_val_get(status, "actors")); kb_iter_next(&it);)
        if (!kb_str_is(kb_val_str_at(it.val, "state"), "ready"))
            fprintf(stderr, "  " KB_STR_FMT ": " KB_STR_FMT " " KB_STR_FMT "\n",
                    KB_STR_ARG(kb_val_str_at(it.val, "name")),
                    KB_STR_ARG(kb_val_str_at(it.val, "state")),
                    KB_STR_ARG(kb_val_str_at(it.val, "message")));
}

static int wait_ready(struct up *up, struct kb_actor *tool, struct kb_err *err)
{
    KB_AUTO(kb_map_finish) struct kb_map shown = {0};
    kb_ms give_up = up->started + UP_TIMEOUT_MS;
    for (;;) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *status = NULL;
        struct kb_err last = {0};
        kb_ms now = kb_clock_now(kb_clock_system());
        int rc = kb_tool_call(tool, "kernel", "kernel.status", (kb_val){0}, 2000, &status, &last);
        if (rc == 0 && show_ready(kb_doc_root(status), &shown) >= up->actors)
            return 0;
        if (waitpid(up->kernel, NULL, WNOHANG) == up->kernel)
            return kb_err_set(err, KB_EUNAVAILABLE, "kubusd ended at once: see %s/logs/kernel.log",
                              up->data);
        if (now > give_up) {
            show_late(kb_doc_root(status));
            return kb_err_set(err, KB_ETIMEOUT, "not all actors are ready: see %s/logs", up->data);
        }
        if (!kb_tool_wait(tool, UP_POLL_MS) || interrupted)
            return kb_err_set(err, KB_ECANCELED,
                              "interrupted; the cluster goes on, see `kubus status`");
    }
}

static int stop_cluster(const struct up *up, struct kb_err *err)
{
    printf("\nstopping …\n");
    fflush(stdout);
    const char *argv[] = {"kubus", "down", "--data", up->data, NULL};
    return kb_cluster_run(argv, err);
}

/* Wait for the kernel to end, or for Ctrl-C, which ends it. Signals come in only while it waits, so
 * that none is overlooked. */
static int stay(struct up *up, struct kb_actor **tool_p, struct kb_err *err)
{
    sigset_t stops, none;
    kb_actor_destroy(tool_p); /* which had its own way with signals */
    catch_signals();
    sigemptyset(&none);
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    KB_AUTO(kb_auto_close) int kernel = (int)syscall(SYS_pidfd_open, up->kernel, 0);
    if (kernel < 0)
        return kb_err_sys(err, errno, "watch kubusd");
    printf("Ctrl-C stops the cluster.\n");
    fflush(stdout);
    struct pollfd ended = {.fd = kernel, .events = POLLIN};
    while (!interrupted && ppoll(&ended, 1, NULL, &none) < 0 && errno == EINTR)
        continue;
    if (interrupted)
        return stop_cluster(up, err);
    return kb_err_set(err, KB_EUNAVAILABLE, "kubusd ended: see %s/logs/kernel.log", up->data);
}

static int configure_scheduler(struct up *up, struct kb_err *err)
{
    KB_AUTO(kb_policies_finish) struct kb_policies p = {0};
    int rc = kb_policies_open(&p, up->data, err);
    if (rc == 0)
        rc = kb_policies_read(&p, err);
    if (rc == 0)
        rc = kb_policies_read_file(&p, up->scheduler_config, err);
    if (rc == 0)
        rc = kb_policies_write(&p, err);
    return rc < 0 ? kb_err_wrap(err, "--scheduler-config") : 0;
}

static int start(struct up *up, struct kb_err *err)
{
    KB_AUTO(kb_actor_destroy) struct kb_actor *tool = NULL;
    if (kb_cluster_runs(up->data))
        return kb_err_set(err, KB_EEXISTS, "a cluster is already running in %s", up->data);
    if (write_plan(up, err) < 0)
        return -err->code;
    printf("cluster in %s\n", up->data);
    up->started = kb_clock_now(kb_clock_system());
    if (kb_cluster_spawn(up->data, &up->kernel, err) < 0 || kb_tool_open(up->data, &tool, err) < 0)
        return -err->code;
    int rc = wait_ready(up, tool, err);
    if (rc == -KB_ECANCELED && !up->detach)
        return stop_cluster(up, err);
    if (rc == 0 && up->scheduler_config)
        rc = configure_scheduler(up, err);
    if (rc < 0)
        return rc;
    printf("ready in %lld ms: https://%s\n  export KUBECONFIG=%s/kubeconfig\n",
           (long long)(kb_clock_now(kb_clock_system()) - up->started), up->plan.listen, up->data);
    return up->detach ? 0 : stay(up, &tool, err);
}

/* Seen from here: the scheduler runs elsewhere. Caller frees. */
static char *absolute(const char *path)
{
    char here[PATH_MAX];
    return path[0] == '/' || getcwd(here, sizeof(here)) == NULL ? kb_strf("%s", path)
                                                                : kb_strf("%s/%s", here, path);
}

int kb_cmd_up(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(up_finish)
    struct up up = {.command = command,
                    .plan = {.listen = "127.0.0.1:6443",
                             .runtime = "oci",
                             .service_cidr = "10.96.0.0/16",
                             .nodes = 1,
                             .history_s = 300,
                             .schedulers = 1,
                             .controllers = default_controllers,
                             .controllers_count = KB_COUNT(default_controllers)}};
    const char *record = NULL;
    const struct kb_opt opts[] = {
        {"data", 0, KB_OPT_TEXT, &up.data_option, "DIR", "where the cluster keeps everything", 0,
         0},
        {"listen", 0, KB_OPT_TEXT, &up.plan.listen, "ADDR:PORT",
         "the API's address; port 0: any that is free [127.0.0.1:6443]", 0, 0},
        {"nodes", 0, KB_OPT_INT, &up.plan.nodes, "N",
         "nodes with containers; the second and later are network namespaces [1]", 0, 200},
        {"runtime", 0, KB_OPT_TEXT, &up.plan.runtime, "NAME", "oci, process or hollow [oci]", 0, 0},
        {"hollow-nodes", 0, KB_OPT_INT, &up.plan.hollow_nodes, "N",
         "further nodes that only pretend to run pods [0]", 0, 1000000},
        {"schedulers", 0, KB_OPT_INT, &up.plan.schedulers, "N",
         "schedulers that work at once, each on its share [1]", 1, 32},
        {"scheduler-config", 0, KB_OPT_TEXT, &up.scheduler_config, "FILE",
         "a KubeSchedulerConfiguration; replaces that of the cluster", 0, 0},
        {"image", 0, KB_OPT_LIST, &up.images, "FILE",
         "an image archive that every node loads at start", 0, 0},
        {"pod-cidr", 0, KB_OPT_TEXT, &up.plan.pod_cidr, "CIDR", "addresses of pods [a free /16]", 0,
         0},
        {"service-cidr", 0, KB_OPT_TEXT, &up.plan.service_cidr, "CIDR",
         "addresses of Services [10.96.0.0/16]", 0, 0},
        {"history", 0, KB_OPT_INT, &up.plan.history_s, "SECONDS",
         "how long old versions are kept; 0: until `store.compact` [300]", 0, INT32_MAX},
        {"record", 0, KB_OPT_TEXT, &record, "FILE",
         "what the scheduler is told and decides, for `kubus sim replay`", 0, 0},
        {"detach", 'd', KB_OPT_FLAG, &up.detach, NULL, "return once all is ready", 0, 0},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (operands.count)
        return kb_command_misuse(command, "takes no operand '%s'", operands.items[0]);
    up.data = kb_data_dir(up.data_option);
    KB_AUTO(kb_auto_free) char *record_path = record ? absolute(record) : NULL;
    up.plan.record = record_path;
    catch_signals();
    rc = start(&up, &err);
    return rc < 0 ? kb_command_fail(command, &err) : rc;
}
