/* cmd_logs.c - `kubus logs`. */
#include "actors/cli/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool print_piece(void *user, kb_str piece)
{
    (void)user;
    bool more = fwrite(piece.p, 1, piece.n, stdout) == piece.n;
    fflush(stdout);
    return more;
}

static void add_number(struct kb_buf *path, const char *key, int64_t value)
{
    KB_AUTO(kb_auto_free) char *text = kb_strf("%lld", (long long)value);
    if (value >= 0)
        kb_query_add(path, key, kb_str_of(text));
}

static void add_flag(struct kb_buf *path, const char *key, bool value)
{
    if (value)
        kb_query_add(path, key, kb_str_of("true"));
}

int kb_cmd_logs(const struct kb_command *command, int argc, char **argv)
{
    static const struct kb_rest_resource pods = {
        .version = {"v1", 2}, .plural = {"pods", 4}, .namespaced = true};
    KB_AUTO(kb_session_finish) struct kb_session session = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    bool follow = false, previous = false, timestamps = false;
    int64_t tail = -1, since_s = -1;
    const char *container = NULL, *pod;
    const struct kb_opt opts[] = {
        KB_SESSION_OPTS(&session),
        {"follow", 'f', KB_OPT_FLAG, &follow, NULL, "go on as more is printed", 0, 0},
        {"previous", 'p', KB_OPT_FLAG, &previous, NULL, "of the container's last run", 0, 0},
        {"timestamps", 0, KB_OPT_FLAG, &timestamps, NULL, "the time before each line", 0, 0},
        {"tail", 0, KB_OPT_INT, &tail, "N", "only the last N lines", 0, INT64_MAX},
        {"since-seconds", 0, KB_OPT_INT, &since_s, "N", "only of the last N seconds", 1, INT64_MAX},
        {"container", 'c', KB_OPT_TEXT, &container, "NAME", "of a pod with several", 0, 0},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (operands.count != 1)
        return kb_command_misuse(command, "name one pod");
    if (kb_session_open(&session, &err) < 0 ||
        kb_session_pod(&session, operands.items[0], &pod, &err) < 0)
        return kb_command_fail(command, &err);
    kb_buf_printf(&path, "%s/log",
                  kb_rest_path(&session.arena, &pods, kb_session_ns(&session), pod));
    add_flag(&path, "follow", follow);
    add_flag(&path, "previous", previous);
    add_flag(&path, "timestamps", timestamps);
    add_number(&path, "tailLines", tail);
    add_number(&path, "sinceSeconds", since_s);
    if (container)
        kb_query_add(&path, "container", kb_str_of(container));
    struct kb_rest_request request = {
        .method = "GET", .path = path.p, .accept = "*/*", .chunk = print_piece};
    return kb_rest_do(session.rest, &request, NULL, &err) < 0 ? kb_command_fail(command, &err) : 0;
}
