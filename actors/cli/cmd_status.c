/* cmd_status.c - `kubus status`, `kubus actors`, `kubus kubeconfig`, `kubus version`. */
#include "actors/cli/cluster.h"
#include "actors/cli/command.h"
#include "actors/cli/tool.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATUS_TIMEOUT_MS = 5000, ORDER_TIMEOUT_MS = 60000 };

static int fetch(const char *data, struct kb_actor **ret_tool, struct kb_doc **ret_status,
                 struct kb_err *err)
{
    if (!kb_cluster_runs(data))
        return kb_err_set(err, KB_EUNAVAILABLE, "no cluster is running in %s", data);
    if (kb_tool_open(data, ret_tool, err) < 0)
        return -err->code;
    return kb_tool_call(*ret_tool, "kernel", "kernel.status", (kb_val){0}, STATUS_TIMEOUT_MS,
                        ret_status, err);
}

static void show_actors(kb_val status)
{
    int64_t total = 0;
    printf("%-24s %-9s %8s %9s %9s %10s\n", "ACTOR", "STATE", "PID", "RESTARTS", "READY IN",
           "MEMORY");
    for (struct kb_iter it = kb_iter(kb_val_get(status, "actors")); kb_iter_next(&it);) {
        int64_t rss = kb_val_int_at(it.val, "rss_bytes", 0);
        total += rss;
        printf("%-24.*s %-9.*s %8lld %9lld %6lld ms %7.1f MB  " KB_STR_FMT "\n",
               KB_STR_ARG(kb_val_str_at(it.val, "name")),
               KB_STR_ARG(kb_val_str_at(it.val, "state")),
               (long long)kb_val_int_at(it.val, "pid", 0),
               (long long)kb_val_int_at(it.val, "restarts", 0),
               (long long)kb_val_int_at(it.val, "ready_ms", 0), (double)rss / 1e6,
               KB_STR_ARG(kb_val_str_at(it.val, "message")));
    }
    printf("\nmemory of all actors: %.1f MB\n", (double)total / 1e6);
}

static void show_store(kb_val store)
{
    printf("store: revision %lld, history since %lld, %lld objects, %.1f MB\n",
           (long long)kb_val_int_at(store, "rev", 0),
           (long long)kb_val_int_at(store, "compacted", 0),
           (long long)kb_val_int_at(store, "objects", 0),
           (double)kb_val_int_at(store, "bytes", 0) / 1e6);
}

static void show_json(kb_val status, kb_val store)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kraw(&w, "kernel", status);
    kb_w_kraw(&w, "store", store);
    kb_w_end(&w);
    kb_json_write(&text, kb_w_val(&w), KB_JSON_PRETTY);
    printf(KB_STR_FMT "\n", KB_STR_ARG(kb_buf_str(&text)));
    kb_w_finish(&w);
}

/* Parse the options that these commands share. As kb_command_parse. */
static int parse(const struct kb_command *command, int argc, char **argv, const char **output,
                 char **ret_data)
{
    const char *data = NULL;
    const struct kb_opt opts[] = {
        {"data", 0, KB_OPT_TEXT, &data, "DIR", "the cluster's data folder", 0, 0},
        {"output", 'o', KB_OPT_TEXT, output, "FORMAT", "json", 0, 0},
    };
    struct kb_operands operands;
    int rc = kb_command_parse(command, opts, output ? 2 : 1, argc, argv, &operands);
    if (rc == 0)
        *ret_data = kb_data_dir(data);
    return rc;
}

int kb_cmd_status(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(kb_auto_free) char *data = NULL;
    KB_AUTO(kb_actor_destroy) struct kb_actor *tool = NULL;
    KB_AUTO(kb_doc_destroy) struct kb_doc *status = NULL, *store = NULL;
    const char *output = "";
    struct kb_err err = {0};
    int rc = parse(command, argc, argv, &output, &data);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (fetch(data, &tool, &status, &err) < 0)
        return kb_command_fail(command, &err);
    rc = kb_tool_call(tool, "store", "store.status", (kb_val){0}, STATUS_TIMEOUT_MS, &store, &err);
    if (strcmp(output, "json") == 0) {
        show_json(kb_doc_root(status), kb_doc_root(store));
        return 0;
    }
    show_actors(kb_doc_root(status));
    if (rc < 0)
        printf("store: %s\n", err.text);
    else
        show_store(kb_doc_root(store));
    return 0;
}

static void list_actors(kb_val status)
{
    for (struct kb_iter it = kb_iter(kb_val_get(status, "actors")); kb_iter_next(&it);)
        printf("%-24.*s %-9.*s %4lld restarts  " KB_STR_FMT "\n",
               KB_STR_ARG(kb_val_str_at(it.val, "name")),
               KB_STR_ARG(kb_val_str_at(it.val, "state")),
               (long long)kb_val_int_at(it.val, "restarts", 0),
               KB_STR_ARG(kb_val_str_at(it.val, "message")));
}

/* kernel.stop or kernel.restart of one actor. */
static int order_actor(struct kb_actor *tool, const char *method, const char *name,
                       struct kb_err *err)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", name);
    kb_w_end(&w);
    int rc = kb_tool_call(tool, "kernel", method, kb_w_val(&w), ORDER_TIMEOUT_MS, NULL, err);
    kb_w_finish(&w);
    return rc;
}

static int actors(const char *data, const struct kb_operands *operands, struct kb_err *err)
{
    KB_AUTO(kb_actor_destroy) struct kb_actor *tool = NULL;
    KB_AUTO(kb_doc_destroy) struct kb_doc *status = NULL;
    if (fetch(data, &tool, &status, err) < 0)
        return -err->code;
    if (operands->count == 0)
        list_actors(kb_doc_root(status));
    const char *method = operands->count && strcmp(operands->items[0], "stop") == 0
                             ? "kernel.stop"
                             : "kernel.restart";
    for (size_t i = 1; i < operands->count; i++)
        if (order_actor(tool, method, operands->items[i], err) < 0)
            return -err->code;
    return 0;
}

int kb_cmd_actors(const struct kb_command *command, int argc, char **argv)
{
    const char *data_option = NULL;
    const struct kb_opt opts[] = {
        {"data", 0, KB_OPT_TEXT, &data_option, "DIR", "the cluster's data folder", 0, 0},
    };
    static const char *const orders[] = {"stop", "start", "restart"};
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    bool known = operands.count == 0;
    for (size_t i = 0; operands.count > 1 && i < KB_COUNT(orders); i++)
        known |= strcmp(operands.items[0], orders[i]) == 0;
    if (!known)
        return kb_command_misuse(command, "say what: stop, start or restart, and the actors");
    KB_AUTO(kb_auto_free) char *data = kb_data_dir(data_option);
    return actors(data, &operands, &err) < 0 ? kb_command_fail(command, &err) : 0;
}

int kb_cmd_kubeconfig(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(kb_auto_free) char *data = NULL;
    struct kb_err err = {0};
    int rc = parse(command, argc, argv, NULL, &data);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    KB_AUTO(kb_auto_free) char *path = kb_cluster_path(data, "kubeconfig");
    if (access(path, R_OK) < 0) {
        kb_err_set(&err, KB_ENOTFOUND, "%s is not there: has the cluster been started?", path);
        return kb_command_fail(command, &err);
    }
    printf("%s\n", path);
    return 0;
}

int kb_cmd_version(const struct kb_command *command, int argc, char **argv)
{
    struct kb_operands operands;
    int rc = kb_command_parse(command, NULL, 0, argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    printf("kubus %s, Kubernetes API 1.32\n", KUBUS_VERSION);
    return 0;
}
