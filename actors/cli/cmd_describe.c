/* cmd_describe.c - `kubus describe`: the object as YAML without what only machines read, and its
 * events. One form for every kind, also for those that plugins and users bring. */
#include "actors/cli/objects.h"
#include "bus/model/yaml.h"

#include <stdio.h>
#include <stdlib.h>

static void show_object(const struct kb_session *session, struct kb_node *object)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    (void)session;
    kb_node_unset(object, "metadata.managedFields");
    struct kb_node *annotations = kb_node_at(object, "metadata.annotations");
    if (annotations)
        kb_node_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
    kb_yaml_write_node(&text, object);
    fwrite(text.p, 1, text.n, stdout);
}

static int show_events(struct kb_session *session, const struct kb_node *object, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    kb_str name = kb_node_text_at(object, "metadata.name");
    kb_str uid = kb_node_text_at(object, "metadata.uid");
    /* What its agent tells of a node carries the node's name for a UID, as a kubelet's does. */
    bool node = kb_str_is(kb_node_text_at(object, "kind"), "Node");
    KB_AUTO(kb_auto_free)
    char *selector =
        node ? kb_strf("involvedObject.kind=Node,involvedObject.name=" KB_STR_FMT, KB_STR_ARG(name))
             : kb_strf("involvedObject.uid=" KB_STR_FMT, KB_STR_ARG(uid));
    struct kb_node *list = NULL;
    kb_buf_puts(&path, "/api/v1/events");
    kb_query_add(&path, "fieldSelector", kb_str_of(selector));
    struct kb_rest_request request = {.method = "GET", .path = path.p};
    int rc = kb_rest_json(session->rest, &request, &session->arena, &list, err);
    if (rc < 0)
        return rc;
    const struct kb_node *items = kb_node_get(list, "items");
    printf("---\nEvents:%s\n", items && items->count ? "" : " <none>");
    for (uint32_t i = 0; items && i < items->count; i++) {
        const struct kb_node *event = items->items[i].val;
        printf("  %-8.*s %-20.*s %4lldx  %-20.*s " KB_STR_FMT "\n",
               KB_STR_ARG(kb_node_text_at(event, "type")),
               KB_STR_ARG(kb_node_text_at(event, "reason")),
               (long long)kb_node_num(kb_node_get(event, "count"), 1),
               KB_STR_ARG(kb_node_text_at(event, "lastTimestamp")),
               KB_STR_ARG(kb_node_text_at(event, "message")));
    }
    return 0;
}

static int describe_object(struct kb_session *session, struct kb_node *object, bool *first,
                           struct kb_err *err)
{
    if (!*first)
        printf("\n\n");
    *first = false;
    show_object(session, object);
    return show_events(session, object, err);
}

static int describe_target(struct kb_session *session, const struct kb_target *target,
                           const char *labels, bool *first, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    struct kb_node *answer = NULL;
    kb_buf_puts(&path, kb_rest_path(&session->arena, &target->resource, kb_session_ns(session),
                                    target->name));
    if (labels)
        kb_query_add(&path, "labelSelector", kb_str_of(labels));
    struct kb_rest_request request = {.method = "GET", .path = path.p};
    if (kb_rest_json(session->rest, &request, &session->arena, &answer, err) < 0)
        return -err->code;
    if (target->name)
        return describe_object(session, answer, first, err);
    const struct kb_node *items = kb_node_get(answer, "items");
    for (uint32_t i = 0; items && i < items->count; i++)
        if (describe_object(session, items->items[i].val, first, err) < 0)
            return -err->code;
    return 0;
}

static int describe(struct kb_session *session, const struct kb_operands *operands,
                    const char *labels, struct kb_err *err)
{
    struct kb_target *targets;
    size_t count;
    bool first = true;
    if (kb_session_open(session, err) < 0 ||
        kb_session_targets(session, operands, &targets, &count, err) < 0)
        return -err->code;
    for (size_t i = 0; i < count; i++) {
        if (labels && targets[i].name)
            return kb_err_set(err, KB_EINVAL,
                              "name cannot be provided when a selector is specified");
        if (describe_target(session, &targets[i], labels, &first, err) < 0)
            return -err->code;
    }
    if (first)
        fprintf(stderr, "No resources found in %s namespace.\n", kb_session_ns(session));
    return 0;
}

int kb_cmd_describe(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(kb_session_finish) struct kb_session session = {0};
    const char *labels = NULL;
    const struct kb_opt opts[] = {
        KB_SESSION_OPTS(&session),
        {"selector", 'l', KB_OPT_TEXT, &labels, "SELECTOR", "by labels: app=web,tier!=db", 0, 0},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    return describe(&session, &operands, labels, &err) < 0 ? kb_command_fail(command, &err) : 0;
}
