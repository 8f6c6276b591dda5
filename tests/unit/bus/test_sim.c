#include "bus/actor.h"
#include "bus/transport_sim.h"
#include "tests/lib/test.h"

static struct kb_actor *actor_on(struct kb_sim *sim, const char *host, const char *name)
{
    struct kb_err err = {0};
    struct kb_actor *actor;
    struct kb_actor_config config = {.name = name,
                                     .data_dir = "/sim",
                                     .standalone = true,
                                     .transport = kb_sim_transport(sim, host)};
    KB_CHECK_OK(kb_actor_new(&config, &actor, &err), &err);
    return actor;
}

static void echo(void *user, struct kb_request *request, kb_val body)
{
    (void)user;
    kb_request_reply(&request, body);
}

static const struct kb_method methods[] = {{"t.echo", echo}};

struct seen {
    int replies, code;
};

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    struct seen *seen = user;
    (void)body;
    seen->replies++;
    seen->code = err ? err->code : 0;
}

static bool replied(void *user)
{
    return ((struct seen *)user)->replies > 0;
}

KB_TEST(sim, calls_take_virtual_time_only)
{
    struct kb_sim *sim = kb_sim_new(kb_test_seed());
    struct kb_sim_link slow = {.delay_min_ms = 5000, .delay_max_ms = 5000};
    struct kb_actor *server = actor_on(sim, "a", "server"), *client = actor_on(sim, "b", "client");
    struct seen seen = {0};
    kb_sim_set_link(sim, "a", "b", &slow);
    kb_actor_serve(server, methods, 1, NULL);
    kb_call(kb_actor_peer(client, "server"), "t.echo", (kb_val){NULL, NULL}, 60000, on_reply,
            &seen);
    KB_CHECK(kb_sim_run_until(sim, replied, &seen, 60000));
    KB_CHECK_I64(seen.code, ==, 0);
    KB_CHECK_I64(kb_sim_now(sim), >=, 15000);
    kb_actor_destroy(&client);
    kb_actor_destroy(&server);
    kb_sim_destroy(&sim);
}

KB_TEST(sim, a_partition_breaks_calls_and_heals)
{
    struct kb_sim *sim = kb_sim_new(kb_test_seed());
    struct kb_actor *server = actor_on(sim, "a", "server"), *client = actor_on(sim, "b", "client");
    struct kb_peer *peer = kb_actor_peer(client, "server");
    struct seen first = {0}, second = {0}, third = {0};
    kb_actor_serve(server, methods, 1, NULL);
    kb_call(peer, "t.echo", (kb_val){NULL, NULL}, 60000, on_reply, &first);
    KB_CHECK(kb_sim_run_until(sim, replied, &first, 60000));
    kb_sim_partition(sim, "a", "b", true);
    kb_call(peer, "t.echo", (kb_val){NULL, NULL}, 60000, on_reply, &second);
    KB_CHECK(kb_sim_run_until(sim, replied, &second, 60000));
    KB_CHECK_I64(second.code, ==, KB_EUNAVAILABLE);
    kb_call(peer, "t.echo", (kb_val){NULL, NULL}, 60000, on_reply, &third);
    kb_sim_run_for(sim, 10000);
    kb_sim_partition(sim, "a", "b", false);
    KB_CHECK(kb_sim_run_until(sim, replied, &third, 60000));
    KB_CHECK_I64(third.code, ==, 0);
    kb_actor_destroy(&client);
    kb_actor_destroy(&server);
    kb_sim_destroy(&sim);
}
