#include "actors/cli/tool.h"

#include "bus/loop.h"

#include <stdio.h>
#include <unistd.h>

struct waiting {
    struct kb_actor *actor;
    struct kb_doc *doc;
    struct kb_err err;
    bool done;
};

int kb_tool_open(const char *data_dir, struct kb_actor **ret_actor, struct kb_err *err)
{
    char name[32];
    snprintf(name, sizeof(name), "cli-%d", (int)getpid());
    struct kb_actor_config config = {.name = name, .data_dir = data_dir, .standalone = true};
    return kb_actor_new(&config, ret_actor, err);
}

static void answered(void *user, const struct kb_err *err, kb_val body)
{
    struct waiting *waiting = user;
    if (err)
        waiting->err = *err;
    else if (body.p)
        waiting->doc = kb_doc_of(body);
    waiting->done = true;
    kb_actor_stopped(waiting->actor);
}

int kb_tool_call(struct kb_actor *actor, const char *service, const char *method, kb_val body,
                 kb_ms timeout_ms, struct kb_doc **ret_doc, struct kb_err *err)
{
    static const uint8_t empty_map[] = {0x80};
    struct waiting waiting = {.actor = actor};
    if (body.p == NULL)
        body = (kb_val){empty_map, empty_map + 1};
    struct kb_peer *peer = kb_actor_peer(actor, service);
    uint64_t id = kb_call(peer, method, body, timeout_ms, answered, &waiting);
    int rc = kb_actor_run(actor, err);
    if (!waiting.done) {
        kb_call_cancel(peer, id);
        return rc < 0 ? rc : kb_err_set(err, KB_ECANCELED, "interrupted");
    }
    if (waiting.err.code)
        return kb_err_set(err, waiting.err.code, "%s", waiting.err.text);
    if (ret_doc)
        *ret_doc = waiting.doc;
    else
        kb_doc_destroy(&waiting.doc);
    return 0;
}

static void elapsed(void *user)
{
    kb_actor_stopped(user);
}

bool kb_tool_wait(struct kb_actor *actor, kb_ms ms)
{
    struct kb_loop_timer timer = {.fn = elapsed, .user = actor};
    kb_loop_timer_set(kb_actor_loop(actor), &timer, ms);
    kb_actor_run(actor, NULL);
    kb_loop_timer_stop(kb_actor_loop(actor), &timer);
    return !kb_actor_stopping(actor);
}
