/* DRF: whose turn it is. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

extern const struct kb_policy kubus_policy_DRF;

static void begin(struct world *w)
{
    static const struct kb_policy *policies[1] = {&kubus_policy_DRF};
    world_start_with(w, policies, 1);
}

static void comes(struct world *w, const char *user, int i, int cpu, int memory, const char *more)
{
    char key[64];
    snprintf(key, sizeof(key), "pods/%s/p%d", user, i);
    world_store_text(
        w, key,
        "{'metadata': {'name': 'p%d', 'namespace': '%s', 'uid': '%s%d'}, 'spec': {%s "
        "'containers': [{'resources': {'requests': {'cpu': '%d', 'memory': '%dGi'}}}]}}",
        i, user, user, i, more, cpu, memory);
}

static int placed(struct world *w, const char *user)
{
    char prefix[64];
    int n = 0;
    snprintf(prefix, sizeof(prefix), "pods/%s/", user);
    for (int i = 0; i < w->n; i++)
        n += strncmp(w->objects[i].key, prefix, strlen(prefix)) == 0 &&
             kb_val_present(kb_doc_at(w->objects[i].doc, "spec.nodeName"));
    return n;
}

/* The example of the paper: 9 CPUs and 18 GB; A's tasks take 1 CPU and 4 GB, B's 3 CPUs and 1 GB.
 * DRF gives A three tasks and B two: both have two thirds of what they need most. */
KB_TEST(drf, divides_the_cluster_of_the_paper_as_the_paper_does)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    for (int i = 0; i < 9; i++) {
        comes(&w, "a", i, 1, 4, "");
        comes(&w, "b", i, 3, 1, "");
    }
    world_settle(&w);
    world_store_json(&w, "nodes//n1",
                     "{'status': {'allocatable': {'cpu': '9', 'memory': '18Gi', 'pods': '99'}}}");
    world_after(&w, 1000);
    KB_CHECK_I64(placed(&w, "a"), ==, 3);
    KB_CHECK_I64(placed(&w, "b"), ==, 2);
}

KB_TEST(drf, what_is_there_already_counts_and_what_goes_does_not)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "4");
    comes(&w, "a", 0, 2, 0, "'nodeName': 'n1',");
    comes(&w, "a", 1, 1, 0, "");
    comes(&w, "b", 1, 1, 0, "");
    comes(&w, "b", 2, 1, 0, "");
    world_settle(&w); /* b has less, though a came first */
    KB_CHECK_I64(placed(&w, "b"), ==, 2);
    KB_CHECK_I64(placed(&w, "a"), ==, 1);
    world_store(&w, "pods/a/p0", NULL);
    comes(&w, "b", 3, 1, 0, "");
    world_after(&w, 10000); /* now a has none */
    KB_CHECK_STR(world_where(&w, "pods/a/p1"), "n1");
}

KB_TEST(drf, priority_goes_before_fairness)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "3");
    comes(&w, "a", 0, 2, 0, "'nodeName': 'n1',");
    comes(&w, "b", 1, 1, 0, "");
    comes(&w, "a", 1, 1, 0, "'priority': 5,");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/a/p1"), "n1");
    KB_CHECK_I64(placed(&w, "b"), ==, 0);
}

/* However they come, no user is ahead of another one that waits by more than one task. */
KB_TEST(drf, users_advance_step_by_step_in_any_order)
{
    enum { USERS = 5, EACH = 12 };
    struct kb_rand rand;
    KB_AUTO(world_end) struct world w;
    int left[USERS];
    kb_rand_init(&rand, kb_test_seed());
    begin(&w);
    for (int u = 0; u < USERS; u++)
        left[u] = EACH;
    for (int n = 0; n < USERS * EACH; n++) {
        int u = (int)kb_rand_below(&rand, USERS);
        char user[8];
        for (; left[u] == 0; u = (u + 1) % USERS)
            ;
        snprintf(user, sizeof(user), "u%d", u);
        comes(&w, user, --left[u], 1, 1, "");
    }
    world_settle(&w);
    for (int node = 0; node < 4; node++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", node);
        world_node(&w, name, "8");
        for (int i = 0; i < 3; i++) {
            world_after(&w, 6000);
        }
        int least = EACH, most = 0;
        for (int u = 0; u < USERS; u++) {
            char user[8];
            snprintf(user, sizeof(user), "u%d", u);
            int n = placed(&w, user);
            least = n < least ? n : least;
            most = n > most ? n : most;
        }
        KB_CHECK_I64(most - least, <=, 1);
    }
}
