/* probe.c - the smallest actor: it answers, counts nothing, and lives as long as it is let. */
#include "bus/actor.h"
#include "bus/base/log.h"

#include <stdio.h>
#include <unistd.h>

static void serve_pid(void *user, struct kb_request *request, kb_val body)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    (void)user, (void)body;
    kb_w_map(&w);
    kb_w_kint(&w, "pid", getpid());
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
}

static const struct kb_method methods[] = {{"probe.pid", serve_pid}};

int kb_module_main(int argc, char **argv)
{
    const char *data = ".", *name = "probe";
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--data") == 0)
            data = argv[++i];
        else if (strcmp(argv[i], "--name") == 0)
            name = argv[++i];
    }
    struct kb_err err = {0};
    KB_AUTO(kb_actor_destroy) struct kb_actor *actor = NULL;
    struct kb_actor_config config = {.name = name, .data_dir = data};
    if (kb_actor_new(&config, &actor, &err) < 0) {
        kb_error("%s", err.text);
        return 1;
    }
    kb_actor_serve(actor, methods, KB_COUNT(methods), NULL);
    kb_actor_gauge(actor, "lucky", 7);
    kb_actor_ready(actor);
    return kb_actor_run(actor, &err) < 0;
}
