/* KubeSchedulerConfiguration: what Kubernetes accepts comes out as the profiles it means, and what
 * it refuses is refused with the place in it. */
#include "actors/scheduler/config.h"
#include "actors/scheduler/core/core.h"
#include "tests/lib/test.h"

#include <stdlib.h>

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

static void nothing(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score)
{
    (void)c;
    for (uint32_t i = from; i < to; i++)
        score[i - from] = 1;
}

static const struct kb_policy mine = {
    .abi = KB_POLICY_ABI, .size = sizeof(mine), .name = "Mine", .weight = 7, .score = nothing};

static const struct kb_policy *resolve(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "Mine") == 0 ? &mine : kb_policy_builtin(name);
}

static void parse(const char *text, struct kb_config *config)
{
    struct kb_err err = {0};
    KB_CHECK_OK(kb_config_parse(kb_str_of(text), resolve, NULL, config, &err), &err);
}

/* Refused, with exactly this message. */
static void refused(const char *text, const char *message)
{
    struct kb_config config = {0};
    struct kb_err err = {0};
    KB_CHECK_I64(kb_config_parse(kb_str_of(text), resolve, NULL, &config, &err), ==, -KB_EINVAL);
    KB_CHECK_STR(err.text, message);
}

static const struct kb_profile_entry *entry(const struct kb_config *c, size_t profile,
                                            const char *name)
{
    const struct kb_config_profile *p = &c->profiles[profile];
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->entries[i].policy->name, name) == 0)
            return &p->entries[i];
    return NULL;
}

static bool asked(const struct kb_config *c, const char *name, enum kb_point point)
{
    const struct kb_profile_entry *e = entry(c, 0, name);
    return e && kb_policy_extends(e->policy, point) && !(e->without & 1u << point);
}

static size_t place_of(const struct kb_config *c, const char *name)
{
    return (size_t)(entry(c, 0, name) - c->profiles[0].entries);
}

KB_TEST(config, an_empty_text_is_the_default_profile)
{
    struct kb_config c = {0};
    parse("", &c);
    KB_CHECK_U64(c.profiles_n, ==, 1);
    KB_CHECK_STR(c.profiles[0].name, "default-scheduler");
    KB_CHECK_U64(c.profiles[0].n, ==, kb_profile_default_n);
    for (size_t i = 0; i < kb_profile_default_n; i++)
        KB_CHECK(entry(&c, 0, kb_profile_default[i].policy->name) != NULL);
    KB_CHECK_I64(c.backoff_ms, ==, 1000);
    KB_CHECK_I64(c.backoff_max_ms, ==, 10000);
    kb_config_finish(&c);
}

KB_TEST(config, what_kubernetes_writes_for_itself_is_accepted)
{
    struct kb_config c = {0};
    parse(HEAD "parallelism: 16\n"
               "leaderElection: {leaderElect: true, leaseDuration: 15s, resourceLock: leases}\n"
               "clientConnection: {kubeconfig: /etc/x, qps: 50, burst: 100}\n"
               "enableProfiling: true\npercentageOfNodesToScore: 0\n"
               "podInitialBackoffSeconds: 2\npodMaxBackoffSeconds: 20\nextenders: null\n"
               "profiles:\n- schedulerName: default-scheduler\n  percentageOfNodesToScore: 50\n"
               "  plugins: {bind: {enabled: [{name: DefaultBinder}]}}\n",
          &c);
    KB_CHECK_I64(c.backoff_ms, ==, 2000);
    KB_CHECK_I64(c.backoff_max_ms, ==, 20000);
    kb_config_finish(&c);
}

KB_TEST(config, json_is_read_as_well)
{
    struct kb_config c = {0};
    parse("{\"apiVersion\": \"kubescheduler.config.k8s.io/v1\", \"kind\": "
          "\"KubeSchedulerConfiguration\", \"profiles\": [{\"schedulerName\": \"a\"}]}",
          &c);
    KB_CHECK_STR(c.profiles[0].name, "a");
    kb_config_finish(&c);
}

KB_TEST(config, a_weight_named_at_score_wins_over_that_of_multipoint)
{
    struct kb_config c = {0};
    parse(HEAD "profiles:\n- plugins:\n    multiPoint: {enabled: [{name: Mine, weight: 3}, {name: "
               "TaintToleration}]}\n    score: {enabled: [{name: NodeAffinity, weight: 9}]}\n",
          &c);
    KB_CHECK_I64(entry(&c, 0, "Mine")->weight, ==, 3);
    KB_CHECK_I64(entry(&c, 0, "NodeAffinity")->weight, ==, 9);
    KB_CHECK_I64(entry(&c, 0, "TaintToleration")->weight, ==, 1);  /* not its default of 3 */
    KB_CHECK_I64(entry(&c, 0, "NodeResourcesFit")->weight, ==, 0); /* its own */
    kb_config_finish(&c);
}

KB_TEST(config, a_star_disables_all_and_what_is_enabled_beside_it_stays)
{
    struct kb_config c = {0};
    parse(HEAD "profiles:\n- plugins:\n    score: {disabled: [{name: '*'}], enabled: [{name: "
               "Mine}]}\n    filter: {disabled: [{name: NodePorts}]}\n",
          &c);
    KB_CHECK(asked(&c, "Mine", KB_POINT_SCORE));
    KB_CHECK_I64(entry(&c, 0, "Mine")->weight, ==, 0);
    KB_CHECK(!asked(&c, "NodeResourcesFit", KB_POINT_SCORE));
    KB_CHECK(asked(&c, "NodeResourcesFit", KB_POINT_FILTER));
    KB_CHECK(!asked(&c, "NodePorts", KB_POINT_FILTER));
    KB_CHECK(asked(&c, "NodePorts", KB_POINT_PRE_FILTER));
    KB_CHECK(entry(&c, 0, "NodeResourcesBalancedAllocation") == NULL ||
             !asked(&c, "NodeResourcesBalancedAllocation", KB_POINT_SCORE));
    kb_config_finish(&c);
}

KB_TEST(config, multipoint_can_be_cleared_and_built_up_anew)
{
    struct kb_config c = {0};
    parse(HEAD "profiles:\n- plugins:\n    multiPoint:\n      disabled: [{name: '*'}]\n"
               "      enabled: [{name: PrioritySort}, {name: NodeResourcesFit, weight: 2}]\n",
          &c);
    KB_CHECK_U64(c.profiles[0].n, ==, 2);
    KB_CHECK_I64(entry(&c, 0, "NodeResourcesFit")->weight, ==, 2);
    kb_config_finish(&c);
}

KB_TEST(config, a_filter_that_is_named_comes_before_those_of_multipoint)
{
    struct kb_config c = {0};
    parse(HEAD "profiles:\n- plugins:\n    filter: {enabled: [{name: NodeResourcesFit}]}\n", &c);
    KB_CHECK_U64(place_of(&c, "NodeResourcesFit"), ==, 0);
    KB_CHECK(place_of(&c, "NodeUnschedulable") < place_of(&c, "NodePorts"));
    kb_config_finish(&c);
}

KB_TEST(config, arguments_reach_the_policy_as_json_without_their_type)
{
    struct kb_config c = {0};
    parse(HEAD "profiles:\n- schedulerName: a\n- schedulerName: b\n  pluginConfig:\n"
               "  - name: NodeResourcesFit\n    args:\n"
               "      apiVersion: kubescheduler.config.k8s.io/v1\n      kind: "
               "NodeResourcesFitArgs\n      ignoredResources: [x.org/y]\n",
          &c);
    KB_CHECK(entry(&c, 0, "NodeResourcesFit")->args == NULL);
    KB_CHECK_STR(entry(&c, 1, "NodeResourcesFit")->args, "{\"ignoredResources\":[\"x.org/y\"]}");
    kb_config_finish(&c);
}

KB_TEST(config, each_profile_of_a_configuration_can_be_put_to_work)
{
    struct kb_config c = {0};
    struct kb_err err = {0};
    struct kb_core *core = kb_sched_core_new(1);
    uint32_t index;
    parse(HEAD "profiles:\n- schedulerName: a\n- schedulerName: b\n"
               "  plugins: {score: {disabled: [{name: '*'}]}}\n",
          &c);
    for (size_t i = 0; i < c.profiles_n; i++)
        KB_CHECK_OK(kb_core_add_profile(core, c.profiles[i].name, c.profiles[i].entries,
                                        c.profiles[i].n, &index, &err),
                    &err);
    KB_CHECK_U64(kb_core_profile(core, kb_str_of("b")), ==, 1);
    kb_sched_core_destroy(&core);
    kb_config_finish(&c);
}

KB_TEST(config, what_is_unknown_is_named_by_its_path)
{
    refused(HEAD "profile: []\n", "strict decoding error: unknown field \"profile\"");
    refused(HEAD "profiles:\n- plugins: {filters: {}}\n",
            "strict decoding error: unknown field \"profiles[0].plugins.filters\"");
    refused(HEAD "profiles:\n- plugins: {score: {enabled: [{name: Mine, wieght: 2}]}}\n",
            "strict decoding error: unknown field \"profiles[0].plugins.score.enabled[0].wieght\"");
    refused(HEAD "profiles:\n- plugins: {filter: {enabled: [{name: Nobody}]}}\n",
            "profiles[0].plugins.filter.enabled[0].name: Invalid value: \"Nobody\": there is no "
            "policy of this name");
    refused(HEAD "profiles:\n- pluginConfig: [{name: Nobody}]\n",
            "profiles[0].pluginConfig[0].name: Invalid value: \"Nobody\": there is no policy of "
            "this name");
}

KB_TEST(config, what_is_of_the_wrong_type_or_out_of_range_is_refused)
{
    refused(HEAD "profiles: {}\n", "profiles: Invalid value: {}: must be of type array");
    refused(HEAD "profiles: [3]\n", "profiles[0]: Invalid value: 3: must be of type object");
    refused(HEAD "percentageOfNodesToScore: 101\n",
            "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]");
    refused(HEAD "parallelism: 0\n",
            "parallelism: Invalid value: 0: should be an integer value greater than zero");
    refused(HEAD "podInitialBackoffSeconds: 0\n",
            "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0");
    refused(HEAD "podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 3\n",
            "podMaxBackoffSeconds: Invalid value: 3: must be greater than or equal to "
            "PodInitialBackoffSeconds");
    refused(HEAD "profiles:\n- plugins: {score: {enabled: [{name: Mine, weight: -1}]}}\n",
            "profiles[0].plugins.score.enabled[0].weight: Invalid value: -1: not in valid range "
            "[0-100000]");
    refused("kind: KubeSchedulerConfiguration\n", "Object 'apiVersion' is missing");
    refused("kind: KubeSchedulerConfiguration\napiVersion: kubescheduler.config.k8s.io/v1beta3\n",
            "no kind \"KubeSchedulerConfiguration\" is registered for version "
            "\"kubescheduler.config.k8s.io/v1beta3\"");
    refused(HEAD "extenders: [{urlPrefix: http://x}]\n",
            "extenders: Forbidden: this scheduler has none; write a policy");
}

KB_TEST(config, profiles_that_contradict_each_other_are_refused)
{
    refused(HEAD "profiles: [{schedulerName: a}, {}]\n",
            "profiles[1].schedulerName: Required value");
    refused(HEAD "profiles: [{schedulerName: a}, {schedulerName: a}]\n",
            "profiles[1].schedulerName: Duplicate value: \"a\"");
    refused(HEAD "profiles:\n- plugins: {queueSort: {disabled: [{name: '*'}]}}\n",
            "profiles[0].plugins.queueSort: Invalid value: only one queue sort plugin required for "
            "profile with scheduler name \"default-scheduler\", but got 0");
    refused(HEAD "profiles:\n- plugins: {filter: {enabled: [{name: Mine}]}}\n",
            "profiles[0].plugins.filter.enabled[0].name: Invalid value: \"Mine\": the policy does "
            "not extend filter");
    refused(HEAD "profiles:\n- plugins: {preFilter: {disabled: [{name: NodePorts}]}}\n",
            "profiles[0].plugins.preFilter: Required value: NodePorts is enabled for filter, which "
            "needs its preFilter");
    refused(HEAD "profiles:\n- pluginConfig: [{name: Mine}, {name: Mine}]\n",
            "profiles[0].pluginConfig[1]: Duplicate value: \"Mine\"");
    refused(HEAD "profiles:\n- pluginConfig: [{name: Mine, args: {kind: YoursArgs}}]\n",
            "profiles[0].pluginConfig[0].args.kind: Invalid value: \"YoursArgs\": the arguments of "
            "Mine are MineArgs");
}
