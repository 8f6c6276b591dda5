#include "actors/runtime/core.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

static size_t runs;

static kb_result reconcile(kb_controller *c, kb_key key)
{
    KB_CHECK(kb_get(c, "pods", key.ns, kb_str_of("old")) != NULL);
    runs++;
    return 0;
}

static const struct kb_plugin plugin = {.abi = KB_PLUGIN_ABI,
                                        .size = sizeof(plugin),
                                        .name = "sets",
                                        .primary = "sets",
                                        .owns = {"pods"},
                                        .reconcile = reconcile,
                                        .on_demand = true};

static void grant_epoch(kb_controller *core)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *answer = NULL;
    KB_CHECK(kb_core_ask_epoch(core, "me", &body));
    kb_json_doc(kb_str_of("{\"epoch\":1,\"rev\":3}"), &answer, NULL);
    KB_CHECK(kb_core_epoch(core, NULL, kb_doc_root(answer)));
}

static void put(kb_controller *core, struct kb_core_view *view, const char *key, int64_t rev)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    kb_json_doc(kb_str_of("{\"metadata\":{\"uid\":\"u\"}}"), &doc, NULL);
    kb_core_change(core, view, false, kb_str_of(key), rev, kb_doc_root(doc));
}

/* The view of that query among those that are wanted; NULL: it is not wanted. */
static struct kb_core_view *wanted(kb_controller *core, const char *query)
{
    struct kb_core_view **views;
    for (size_t i = 0, n = kb_core_views(core, &views); i < n; i++)
        if (strcmp(views[i]->query, query) == 0)
            return views[i];
    return NULL;
}

KB_TEST(demand, follows_what_it_owns_once_there_is_an_owner_and_runs_when_it_has_seen_it)
{
    KB_AUTO(kb_core_destroy) kb_controller *core = NULL;
    struct kb_core_config config = {.plugin = &plugin, .seed = 1, .lease = "l"};
    KB_CHECK_I64(kb_core_new(&config, &core, NULL), ==, 0);
    grant_epoch(core);
    KB_CHECK(wanted(core, "pods") == NULL);
    kb_core_synced(core, wanted(core, "sets"), 5);
    KB_CHECK(!kb_core_run(core) && kb_core_ready(core));

    uint64_t version = kb_core_views_version(core);
    put(core, wanted(core, "sets"), "sets/a/one", 6);
    KB_CHECK(kb_core_views_version(core) != version);
    KB_CHECK(wanted(core, "pods") != NULL);
    KB_CHECK(!kb_core_ready(core) && !kb_core_run(core));
    put(core, wanted(core, "pods"), "pods/a/old", 2);
    kb_core_synced(core, wanted(core, "pods"), 6);
    KB_CHECK(kb_core_run(core) && kb_core_ready(core));
    KB_CHECK_U64(runs, ==, 1);
}
