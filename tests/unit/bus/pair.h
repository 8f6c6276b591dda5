/* Two actors, a server and a client, on either bus. The real one: two loops turned by hand in one
 * thread, over ipc in the test's folder. */
#ifndef KUBUS_TESTS_BUS_PAIR_H
#define KUBUS_TESTS_BUS_PAIR_H

#include "bus/actor.h"
#include "bus/loop_impl.h"
#include "bus/transport.h"
#include "tests/lib/test.h"

struct pair {
    struct kb_actor *server, *client;
    struct kb_peer *peer;
};

static inline struct kb_actor *pair_actor(const char *name)
{
    struct kb_err err = {0};
    struct kb_actor *actor;
    struct kb_actor_config config = {
        .name = name, .data_dir = kb_test_dir(), .run_dir = kb_test_dir(), .standalone = true};
    KB_CHECK_OK(kb_actor_new(&config, &actor, &err), &err);
    return actor;
}

static inline void pair_start(struct pair *pair)
{
    pair->server = pair_actor("server");
    pair->client = pair_actor("client/1");
    pair->peer = kb_actor_peer(pair->client, "server");
}

static inline void pair_finish(struct pair *pair)
{
    kb_actor_destroy(&pair->client);
    kb_actor_destroy(&pair->server);
}

/* Turn both loops until *done is at least `want`; fails after ten seconds. */
static inline void pair_until(struct pair *pair, const int *done, int want)
{
    kb_ms end_ms = kb_clock_now(kb_clock_system()) + 10000;
    while (*done < want) {
        if (kb_clock_now(kb_clock_system()) > end_ms)
            kb_test_fail(__FILE__, __LINE__, "waited for %d, got %d", want, *done);
        if (pair->server)
            kb_loop_pass(kb_actor_loop(pair->server), 1);
        if (pair->client)
            kb_loop_pass(kb_actor_loop(pair->client), 1);
    }
}

#endif
