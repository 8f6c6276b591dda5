/* cmd_down.c - `kubus down`: stop all actors in order, then let each node remove its containers. */
#include "actors/cli/cluster.h"
#include "actors/cli/command.h"
#include "actors/cli/tool.h"
#include "bus/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DOWN_TIMEOUT_MS = 180000, DOWN_POLL_MS = 10, CALL_TIMEOUT_MS = 5000 };

/* Tell each kubusd once: one that is killed on its way down has a successor, which takes all actors
 * for its own and knows nothing of it. */
static int stop_kernels(const char *data, struct kb_actor *tool, struct kb_err *err)
{
    kb_ms give_up = kb_clock_now(kb_clock_system()) + DOWN_TIMEOUT_MS;
    int told = 0;
    while (kb_cluster_runs(data)) {
        int kernel = kb_cluster_kernel(data);
        if (kernel != told && kb_tool_call(tool, "kernel", "kernel.stop", (kb_val){0},
                                           CALL_TIMEOUT_MS, NULL, err) == 0)
            told = kernel;
        if (kb_clock_now(kb_clock_system()) > give_up)
            return kb_err_set(err, KB_ETIMEOUT, "kubusd does not end: see %s/logs", data);
        if (!kb_tool_wait(tool, DOWN_POLL_MS))
            return kb_err_set(err, KB_ECANCELED, "interrupted");
    }
    return 0;
}

/* Actors that were left without a kubusd get one, which takes them along. */
static int stop_cluster(const char *data, const struct kb_node *plan, struct kb_err *err)
{
    KB_AUTO(kb_actor_destroy) struct kb_actor *tool = NULL;
    pid_t guardian;
    if (kb_tool_open(data, &tool, err) < 0)
        return -err->code;
    int rc = stop_kernels(data, tool, err);
    if (rc < 0 || !kb_cluster_left(data, plan))
        return rc;
    rc = kb_cluster_spawn(data, &guardian, err);
    while (rc == 0 && !kb_cluster_runs(data) && waitpid(guardian, NULL, WNOHANG) == 0)
        if (!kb_tool_wait(tool, DOWN_POLL_MS))
            return kb_err_set(err, KB_ECANCELED, "interrupted");
    return rc < 0 ? rc : stop_kernels(data, tool, err);
}

/* The agent's own arguments once more, with --purge. */
static int purge(const char *data, const struct kb_node *actor, struct kb_err *err)
{
    const struct kb_node *plan_argv = kb_node_get(actor, "argv");
    size_t n = 0, cap = (plan_argv ? plan_argv->count : 0) + 5;
    KB_AUTO(kb_auto_free) const char **argv = calloc(cap, sizeof(*argv));
    argv[n++] = "kubus";
    for (uint32_t i = 0; plan_argv && i < plan_argv->count; i++)
        argv[n++] = kb_node_text(plan_argv->items[i].val).p;
    argv[n++] = "--data";
    argv[n++] = data;
    argv[n++] = "--purge";
    int rc = kb_cluster_run(argv, err);
    if (rc > 0)
        return kb_err_set(err, KB_EINTERNAL, "removing the containers of " KB_STR_FMT " failed",
                          KB_STR_ARG(kb_node_text_at(actor, "name")));
    return rc;
}

static int purge_nodes(const char *data, const struct kb_node *plan, struct kb_err *err)
{
    const struct kb_node *actors = kb_node_get(plan, "actors");
    int rc = 0;
    for (uint32_t i = 0; actors && i < actors->count; i++) {
        const struct kb_node *actor = actors->items[i].val;
        if (kb_str_starts(kb_node_text_at(actor, "name"), "agent/") && purge(data, actor, err) < 0)
            rc = -err->code;
    }
    return rc;
}

int kb_cmd_down(const struct kb_command *command, int argc, char **argv)
{
    const char *data_option = NULL;
    const struct kb_opt opts[] = {
        {"data", 0, KB_OPT_TEXT, &data_option, "DIR", "the cluster's data folder", 0, 0},
    };
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_operands operands;
    struct kb_node *plan = NULL;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    KB_AUTO(kb_auto_free) char *data = kb_data_dir(data_option);
    if (kb_cluster_plan(data, &arena, &plan, &err) < 0)
        return kb_command_fail(command, &err);
    bool ran = kb_cluster_runs(data) || kb_cluster_left(data, plan);
    if (ran && stop_cluster(data, plan, &err) < 0)
        return kb_command_fail(command, &err);
    if (purge_nodes(data, plan, &err) < 0)
        return kb_command_fail(command, &err);
    printf(ran ? "stopped; the data stays in %s\n" : "was not running; the data is in %s\n", data);
    return 0;
}
