/* cmd_bus.c - `kubus bus tail [VIEW]`: what happens on the bus, one line a change. */
#include "actors/cli/cluster.h"
#include "actors/cli/command.h"
#include "actors/cli/tool.h"
#include "bus/base/clock.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

struct tail {
    bool json;
};

static void stamp(void)
{
    char now[KB_TIME_BYTES];
    kb_time_format_micro(kb_clock_wall_us(kb_clock_system()), now);
    printf("%.15s  ", now + 11);
}

static void show_json(kb_val doc)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_json_write(&text, doc, 0);
    printf("  " KB_STR_FMT, KB_STR_ARG(kb_buf_str(&text)));
}

static void show_change(const struct tail *tail, const char *op, int64_t rev, kb_str key,
                        kb_val doc)
{
    stamp();
    printf("%10lld  %-3s  " KB_STR_FMT, (long long)rev, op, KB_STR_ARG(key));
    if (tail->json && doc.p)
        show_json(doc);
    printf("\n");
}

static void on_change(void *user, const struct kb_change *change)
{
    show_change(user, change->op == KB_PUT ? "put" : "del", change->rev, change->key, change->doc);
}

static void on_synced(void *user, int64_t rev)
{
    (void)user, (void)rev;
    fflush(stdout);
}

/* Without a view: every event message as it passes, whoever it is for. */
static void on_message(void *user, kb_str topic, kb_val header, kb_val body)
{
    size_t n = kb_val_count(kb_val_get(body, "changes"));
    stamp();
    printf("%-32.*s  " KB_STR_FMT "  rev %lld after %lld", KB_STR_ARG(topic),
           KB_STR_ARG(kb_val_str_at(header, "t")), (long long)kb_val_int_at(header, "rev", 0),
           (long long)kb_val_int_at(header, "prev", 0));
    printf(n ? "  %zu change%s\n" : "\n", n, n == 1 ? "" : "s");
    for (struct kb_iter it = kb_iter(kb_val_get(body, "changes")); kb_iter_next(&it);) {
        char op[8];
        kb_str_copy(kb_val_str_at(it.val, "op"), op, sizeof(op));
        show_change(user, op, kb_val_int_at(it.val, "rev", 0), kb_val_str_at(it.val, "key"),
                    kb_val_get(it.val, "doc"));
    }
    fflush(stdout);
}

static int tail(const char *data, const char *query, struct tail *tail, struct kb_err *err)
{
    static const struct kb_view_handlers handlers = {on_change, on_synced};
    KB_AUTO(kb_actor_destroy) struct kb_actor *tool = NULL;
    if (!kb_cluster_runs(data))
        return kb_err_set(err, KB_EUNAVAILABLE, "no cluster is running in %s", data);
    if (kb_tool_open(data, &tool, err) < 0)
        return -err->code;
    if (query == NULL) {
        int rc = kb_actor_tap(tool, "store", on_message, tail);
        return rc < 0 ? rc : kb_actor_run(tool, err);
    }
    struct kb_view_options options = {0};
    struct kb_view *view = kb_view_open(tool, query, &options, &handlers, tail);
    int rc = kb_actor_run(tool, err);
    kb_view_close(&view);
    return rc;
}

int kb_cmd_bus(const struct kb_command *command, int argc, char **argv)
{
    const char *data_option = NULL, *output = "";
    const struct kb_opt opts[] = {
        {"data", 0, KB_OPT_TEXT, &data_option, "DIR", "the cluster's data folder", 0, 0},
        {"output", 'o', KB_OPT_TEXT, &output, "FORMAT", "json: the objects, too", 0, 0},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (operands.count < 1 || operands.count > 2 || strcmp(operands.items[0], "tail") != 0)
        return kb_command_misuse(command, "say what: `kubus bus tail [VIEW]`");
    KB_AUTO(kb_auto_free) char *data = kb_data_dir(data_option);
    struct tail shown = {.json = strcmp(output, "json") == 0};
    rc = tail(data, operands.count == 2 ? operands.items[1] : NULL, &shown, &err);
    return rc < 0 ? kb_command_fail(command, &err) : 0;
}
