/* Another configuration while the scheduler is at work, and policies that return nonsense. */
#include "bus/base/check.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

/* Keeps pods off nodes of one name: "n1" unless its arguments name another. */
static int configure(const struct kb_policy_host *host, const char *args, void **ret, char *error,
                     size_t n)
{
    const char *not = args && strstr(args, "n2") ? "n2" : args && strstr(args, "all") ? "" : "n1";
    if (args && strstr(args, "bad")) {
        snprintf(error, n, "bad arguments");
        return -1;
    }
    uint32_t *name = malloc(sizeof(*name));
    KB_ASSERT(name != NULL);
    *name = *not ? host->intern(host->core, not ) : 0;
    *ret = name;
    return 0;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    uint32_t not = *(uint32_t *)c->instance;
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = not == 0 || c->nodes->name[i] == not ;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "kept off");
}

static const struct kb_policy keep_off = {.abi = KB_POLICY_ABI,
                                          .size = sizeof(keep_off),
                                          .name = "KeepOff",
                                          .configure = configure,
                                          .unload = free,
                                          .filter = filter,
                                          .reason = reason};

static bool talk_nonsense;

static void wild_score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score)
{
    (void)c;
    for (uint32_t i = from; i < to; i++)
        score[i - from] = talk_nonsense ? 101 : 50;
}

static void wild_filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    (void)c;
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = talk_nonsense ? 0x1000000 : 0;
}

static const struct kb_policy wild = {
    .abi = KB_POLICY_ABI, .size = sizeof(wild), .name = "Wild", .score = wild_score};
static const struct kb_policy vital = {.abi = KB_POLICY_ABI,
                                       .size = sizeof(vital),
                                       .name = "Vital",
                                       .flags = KB_POLICY_REQUIRED,
                                       .filter = wild_filter,
                                       .reason = reason};

static enum kb_policy_status wild_permit(struct kb_policy_cycle *c, uint32_t node, int64_t *wait)
{
    (void)c, (void)node;
    *wait = 60000;
    return talk_nonsense ? (enum kb_policy_status)77 : KB_POLICY_WAIT;
}

static const struct kb_policy usher = {
    .abi = KB_POLICY_ABI, .size = sizeof(usher), .name = "Usher", .permit = wild_permit};

static const struct kb_policy *resolve(void *user, const char *name)
{
    static const struct kb_policy *const all[] = {&keep_off, &wild, &vital, &usher};
    (void)user;
    for (size_t i = 0; i < KB_COUNT(all); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return kb_policy_builtin(name);
}

static int configured(struct world *w, const char *text, struct kb_err *err)
{
    KB_AUTO(kb_config_finish) struct kb_config config = {0};
    KB_CHECK_OK(kb_config_parse(kb_str_of(text), resolve, NULL, &config, err), err);
    return kb_sched_configure(w->sched, &config, err);
}

static void reconfigure(struct world *w, const char *text)
{
    struct kb_err err = {0};
    KB_CHECK_OK(configured(w, text, &err), &err);
}

#define WITH(name) HEAD "profiles: [{plugins: {multiPoint: {enabled: [{name: " name "}]}}}]\n"
#define KEEP_OFF(args)                                                                             \
    HEAD "profiles: [{plugins: {multiPoint: {enabled: [{name: KeepOff}]}}, "                       \
         "pluginConfig: [{name: KeepOff, args: {not: " args "}}]}]\n"

KB_TEST(live, what_waited_under_one_configuration_is_bound_under_the_next)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    reconfigure(&w, KEEP_OFF("all"));
    world_node(&w, "n1", "4");
    world_node(&w, "n2", "4");
    world_pod(&w, "p", "1", "");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    reconfigure(&w, KEEP_OFF("n1"));
    world_after(&w, 2000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n2");
}

KB_TEST(live, arguments_that_a_policy_refuses_change_nothing)
{
    KB_AUTO(world_end) struct world w;
    struct kb_err err = {0};
    world_start(&w);
    reconfigure(&w, KEEP_OFF("n1"));
    KB_CHECK_I64(configured(&w, KEEP_OFF("bad"), &err), ==, -KB_EINVAL);
    KB_CHECK_STR(err.text, "profile default-scheduler: policy KeepOff: bad arguments");
    world_try_one(&w, "4");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
}

KB_TEST(live, a_pod_waits_for_the_profile_that_it_names)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "4");
    world_pod(&w, "p", "1", "'schedulerName': 'other', ");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    reconfigure(&w, HEAD "profiles: [{schedulerName: default-scheduler}, {schedulerName: other}]");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(live, without_its_profile_a_pod_is_left_alone)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    reconfigure(&w, HEAD "profiles: [{schedulerName: a}, {schedulerName: b}]");
    world_pod(&w, "p", "1", "'schedulerName': 'a', ");
    world_settle(&w);
    reconfigure(&w, HEAD "profiles: [{schedulerName: b}, {schedulerName: c}]");
    world_node(&w, "n1", "4");
    world_after(&w, 20000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    reconfigure(&w, HEAD "profiles: [{schedulerName: a}]");
    world_after(&w, 20000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(live, who_waits_for_a_permit_is_decided_again)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    talk_nonsense = false;
    reconfigure(&w, WITH("Usher"));
    world_try_one(&w, "4");
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 1);
    reconfigure(&w, HEAD);
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
    KB_CHECK_U64(kb_sched_counts(w.sched).assumed, ==, 0);
}

KB_TEST(live, a_policy_that_returns_nonsense_is_held_and_the_profile_goes_on)
{
    KB_AUTO(world_end) struct world w;
    struct kb_core_held held;
    world_start(&w);
    talk_nonsense = true;
    reconfigure(&w, WITH("Wild"));
    world_try_one(&w, "4");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
    KB_CHECK(kb_core_next_held(kb_sched_core(w.sched), &held));
    KB_CHECK_STR(held.policy, "Wild");
    KB_CHECK_STR(held.why, "score 101 is not in 0 … 100");
    KB_CHECK(!kb_core_next_held(kb_sched_core(w.sched), &held));
}

KB_TEST(live, without_a_policy_that_is_required_pods_wait)
{
    KB_AUTO(world_end) struct world w;
    struct kb_core_held held;
    world_start(&w);
    talk_nonsense = true;
    reconfigure(&w, WITH("Vital"));
    world_try_one(&w, "4");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    KB_CHECK(strstr(world_message(&w, "pods/x/p"), "a policy that this profile requires is held") !=
             NULL);
    KB_CHECK(kb_core_next_held(kb_sched_core(w.sched), &held));
    KB_CHECK_STR(held.why, "verdict 0x1000000 is none");
    talk_nonsense = false;
    reconfigure(&w, WITH("Vital"));
    world_after(&w, 2000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(live, a_status_that_does_not_exist_holds_the_policy)
{
    KB_AUTO(world_end) struct world w;
    struct kb_core_held held;
    world_start(&w);
    talk_nonsense = true;
    reconfigure(&w, WITH("Usher"));
    world_node(&w, "n1", "4");
    world_pod(&w, "p", "1", "");
    world_pod(&w, "q", "1", "");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/q"), "n1");
    KB_CHECK(kb_core_next_held(kb_sched_core(w.sched), &held));
    KB_CHECK_STR(held.why, "status 77 of permit is none");
}

KB_TEST(live, the_pods_of_another_share_are_left_to_it_for_a_while)
{
    KB_AUTO(world_end) struct world w;
    int bound = 0, all = 0;
    world_start(&w);
    kb_sched_share(w.sched, 1, 3);
    world_node(&w, "n1", "40");
    for (int i = 0; i < 30; i++) {
        char key[32];
        snprintf(key, sizeof(key), "pods/x/p%d", i);
        world_store_text(&w, key,
                         "{'metadata': {'name': 'p', 'namespace': 'x', 'uid': 'u%d'}, 'spec': "
                         "{'containers': [{}]}}",
                         i);
    }
    world_settle(&w);
    for (int i = 0; i < w.n; i++)
        bound += world_where(&w, w.objects[i].key)[0] != '\0';
    KB_CHECK(bound > 0 && bound < 30);
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, KB_SCHED_LATER_MS);
    world_after(&w, KB_SCHED_LATER_MS);
    for (int i = 0; i < w.n; i++)
        all += world_where(&w, w.objects[i].key)[0] != '\0';
    KB_CHECK_I64(all, ==, 30);
}

/* ---- in any order ---- */

static void random_pod(struct world *w, struct kb_rand *rand)
{
    char key[32];
    static const char *const names[] = {"default-scheduler", "other"};
    snprintf(key, sizeof(key), "pods/x/p%d", (int)kb_rand_below(rand, 40));
    if (world_find(w, key)->doc) {
        if (kb_rand_below(rand, 2))
            world_store(w, key, NULL);
        return;
    }
    world_store_text(w, key,
                     "{'metadata': {'name': 'p', 'namespace': 'x', 'uid': 'u%llu'}, 'spec': "
                     "{'schedulerName': '%s', 'containers': [{}]}}",
                     (unsigned long long)kb_rand_next(rand), names[kb_rand_below(rand, 2)]);
}

static void random_config(struct world *w, struct kb_rand *rand)
{
    static const char *const configs[] = {
        KEEP_OFF("n1"),
        WITH("Wild"),
        KEEP_OFF("all"),
        WITH("Usher"),
        HEAD "profiles: [{schedulerName: other}, {schedulerName: default-scheduler}]",
        HEAD "profiles: [{schedulerName: other}]"};
    talk_nonsense = kb_rand_below(rand, 2);
    reconfigure(w, configs[kb_rand_below(rand, KB_COUNT(configs))]);
}

static void something_happens(struct world *w, struct kb_rand *rand)
{
    if (kb_rand_below(rand, 10) == 0)
        random_config(w, rand);
    else
        random_pod(w, rand);
}

KB_TEST(live_property, reconfigured_at_any_moment_no_pod_is_lost_or_placed_where_it_must_not_be)
{
    KB_AUTO(world_end) struct world w;
    struct kb_rand rand = world_start_random(&w, 7);
    world_node(&w, "n1", "400");
    world_node(&w, "n2", "400");
    world_walk(&w, &rand, 8000, something_happens, NULL);
    reconfigure(&w, HEAD "profiles: [{schedulerName: default-scheduler, plugins: {multiPoint: "
                         "{enabled: [{name: KeepOff}]}}}, {schedulerName: other}]");
    world_calm(&w);
    struct kb_sched_counts counts = kb_sched_counts(w.sched);
    size_t bound = 0;
    for (int i = 0; i < w.n; i++) {
        if (!kb_val_present(kb_doc_at(w.objects[i].doc, "spec.containers")))
            continue;
        KB_CHECK(world_where(&w, w.objects[i].key)[0] != '\0');
        bound++;
    }
    KB_CHECK_U64(counts.placed, ==, bound);
    KB_CHECK_U64(counts.assumed, ==, 0);
    KB_CHECK_U64(counts.waiting.active + counts.waiting.unschedulable, ==, 0);
}
