#include "actors/cli/policies.h"
#include "bus/model/yaml.h"
#include "tests/lib/test.h"

static struct kb_node *parse(struct kb_arena *a, const char *text)
{
    struct kb_node *node = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_yaml_parse_one(a, kb_str_of(text), NULL, &node, &err), &err);
    return node;
}

static void check(struct kb_arena *a, const struct kb_node *config, const char *text)
{
    KB_AUTO(kb_buf_finish) struct kb_buf is = {0};
    kb_yaml_write_node(&is, config);
    if (!kb_node_equal(config, parse(a, text)))
        kb_test_fail(__FILE__, __LINE__, "the configuration is\n%s", is.p);
}

static void enable(struct kb_arena *a, struct kb_node *config, const char *profile,
                   const char *name, int64_t weight, const char *args)
{
    struct kb_err err = {0};
    KB_CHECK_OK(
        kb_policies_enable(a, config, profile, name, weight, args ? parse(a, args) : NULL, &err),
        &err);
}

KB_TEST(policies_edit, the_first_policy_makes_the_default_profile)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *config = parse(&a, "{}");
    enable(&a, config, "default-scheduler", "Mine", 3, "{most: 5}");
    check(&a, config,
          "profiles: [{schedulerName: default-scheduler, plugins: {multiPoint: {enabled: [{name: "
          "Mine, weight: 3}]}}, pluginConfig: [{name: Mine, args: {most: 5}}]}]");
}

KB_TEST(policies_edit, loaded_twice_it_stands_there_once_with_the_new_weight)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *config = parse(
        &a, "profiles: [{plugins: {multiPoint: {enabled: [{name: Mine, weight: 3}], disabled: "
            "[{name: Mine}, {name: NodePorts}]}}}]");
    enable(&a, config, "default-scheduler", "Mine", 4, NULL);
    check(&a, config,
          "profiles: [{plugins: {multiPoint: {enabled: [{name: Mine, weight: 4}], disabled: "
          "[{name: NodePorts}]}}}]");
}

KB_TEST(policies_edit, a_profile_that_is_not_there_is_not_made)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_err err = {0};
    struct kb_node *config = parse(&a, "profiles: [{schedulerName: a}]");
    KB_CHECK_I64(kb_policies_enable(&a, config, "b", "Mine", 0, NULL, &err), ==, -KB_ENOTFOUND);
    KB_CHECK_STR(err.text, "there is no profile b");
}

KB_TEST(policies_edit, unloaded_it_is_gone_from_every_point_of_every_profile)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *config =
        parse(&a, "profiles:\n"
                  "- {schedulerName: a, plugins: {score: {enabled: [{name: Mine}, {name: Other}]}, "
                  "filter: {enabled: [{name: Mine}]}}, pluginConfig: [{name: Mine, args: {}}]}\n"
                  "- {schedulerName: b, plugins: {multiPoint: {enabled: [{name: Mine}]}}}\n");
    KB_CHECK(kb_policies_uses(config, "Mine"));
    KB_CHECK_U64(kb_policies_disable(config, "b", "Mine"), ==, 1);
    KB_CHECK(kb_policies_uses(config, "Mine"));
    KB_CHECK_U64(kb_policies_disable(config, NULL, "Mine"), ==, 2);
    KB_CHECK(!kb_policies_uses(config, "Mine"));
    KB_CHECK_U64(kb_policies_disable(config, NULL, "Mine"), ==, 0);
    check(&a, config,
          "profiles:\n"
          "- {schedulerName: a, plugins: {score: {enabled: [{name: Other}]}, filter: {enabled: "
          "[]}}, pluginConfig: []}\n"
          "- {schedulerName: b, plugins: {multiPoint: {enabled: []}}}\n");
}

KB_TEST(policies_edit, what_has_another_shape_than_expected_is_left_to_the_scheduler_to_refuse)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_CHECK(!kb_policies_uses(parse(&a, "profiles: 3"), "Mine"));
    KB_CHECK_U64(kb_policies_disable(parse(&a, "profiles: [3, {plugins: [1]}]"), NULL, "Mine"), ==,
                 0);
    struct kb_node *config = parse(&a, "profiles: [{plugins: 7}]");
    enable(&a, config, "default-scheduler", "Mine", 0, NULL);
    KB_CHECK(kb_policies_uses(config, "Mine"));
}
