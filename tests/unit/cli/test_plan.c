#include "actors/cli/plan.h"
#include "tests/lib/test.h"

static struct kb_plan_options sample(void)
{
    static const char *const controllers[] = {"replicaset"};
    return (struct kb_plan_options){.listen = "127.0.0.1:6443",
                                    .runtime = "oci",
                                    .pod_cidr = "10.244.0.0/16",
                                    .service_cidr = "10.96.0.0/16",
                                    .cluster_id = "0123abcd",
                                    .nodes = 2,
                                    .hollow_nodes = 50,
                                    .schedulers = 1,
                                    .controllers = controllers,
                                    .controllers_count = 1};
}

static bool has_arguments(const struct kb_node *actor, const char *first, const char *second)
{
    const struct kb_node *argv = kb_node_get(actor, "argv");
    for (uint32_t i = 0; argv && i + 1 < argv->count; i++)
        if (kb_str_is(kb_node_text(argv->items[i].val), first) &&
            kb_str_is(kb_node_text(argv->items[i + 1].val), second))
            return true;
    return false;
}

KB_TEST(plan, names_every_actor_once_and_the_second_node_has_a_namespace)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_plan_options options = sample();
    struct kb_err err = {0};
    KB_CHECK_OK(kb_plan_check(&options, &err), &err);
    struct kb_node *actors = kb_node_get(kb_plan_make(&a, &options), "actors");
    static const char *const names[] = {"store",        "api",          "scheduler",   "replicaset",
                                        "agent/node-1", "agent/node-2", "agent/hollow"};
    KB_CHECK_U64(actors->count, ==, KB_COUNT(names));
    for (uint32_t i = 0; i < actors->count; i++)
        KB_CHECK_STRN(kb_node_text_at(actors->items[i].val, "name"), names[i]);
    KB_CHECK(has_arguments(actors->items[5].val, "--netns", "kubus-0123abcd-node-2"));
    KB_CHECK(!has_arguments(actors->items[4].val, "--netns", "kubus-0123abcd-node-1"));
    KB_CHECK(has_arguments(actors->items[6].val, "--hollow-nodes", "50"));
}

KB_TEST(plan, gives_each_of_several_schedulers_a_name_and_a_share)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_plan_options options = sample();
    options.schedulers = 3;
    struct kb_node *actors = kb_node_get(kb_plan_make(&a, &options), "actors");
    KB_CHECK_STRN(kb_node_text_at(actors->items[2].val, "name"), "scheduler");
    KB_CHECK(has_arguments(actors->items[2].val, "--share", "0/3"));
    KB_CHECK_STRN(kb_node_text_at(actors->items[4].val, "name"), "scheduler-3");
    KB_CHECK(has_arguments(actors->items[4].val, "--name", "scheduler-3"));
    KB_CHECK(has_arguments(actors->items[4].val, "--share", "2/3"));
}

KB_TEST(plan, refuses_what_cannot_work)
{
    struct kb_err err = {0};
    struct kb_plan_options options = sample();
    options.runtime = "docker";
    KB_CHECK_I64(kb_plan_check(&options, &err), ==, -KB_EINVAL);
    options = sample();
    options.listen = "6443";
    KB_CHECK_I64(kb_plan_check(&options, &err), ==, -KB_EINVAL);
    options = sample();
    options.pod_cidr = "10.96.0.0/12";
    KB_CHECK_I64(kb_plan_check(&options, &err), ==, -KB_EINVAL);
    KB_CHECK_STR(err.text, "--pod-cidr and --service-cidr overlap");
    options = sample();
    options.pod_cidr = "10.244.0.0/24";
    KB_CHECK_I64(kb_plan_check(&options, &err), ==, -KB_EINVAL);
}

KB_TEST(plan, ranges_overlap_when_one_holds_the_other)
{
    KB_CHECK(kb_plan_cidr_overlaps("10.244.3.0/24", "10.244.0.0/16"));
    KB_CHECK(kb_plan_cidr_overlaps("0.0.0.0/0", "10.244.0.0/16"));
    KB_CHECK(!kb_plan_cidr_overlaps("10.245.0.0/16", "10.244.0.0/16"));
    KB_CHECK(!kb_plan_cidr_overlaps("rubbish", "10.244.0.0/16"));
}
