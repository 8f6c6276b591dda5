/* rules_data.c - ConfigMaps and Secrets, Nodes, Events. */
#include "actors/api/logic/rules_impl.h"

#include "bus/base/base64.h"
#include "bus/base/map.h"
#include "bus/model/json.h"

enum { DATA_MAX_BYTES = 1024 * 1024 };

/* ---- ConfigMaps and Secrets ---- */

static size_t bytes_of(const struct kb_node *map, bool base64)
{
    size_t n = 0;
    for (uint32_t i = 0; i < kb__members(map); i++) {
        kb_str text = kb_node_text(map->items[i].val);
        size_t padding = kb_str_ends(text, "==") ? 2 : kb_str_ends(text, "=") ? 1 : 0;
        n += base64 ? text.n / 4 * 3 - (text.n >= 4 ? padding : 0) : text.n;
    }
    return n;
}

/* The members by key: maps may be as large as a body, and are compared with each other. */
static void index_members(const struct kb_node *map, struct kb_map *index)
{
    for (uint32_t i = 0; i < kb__members(map); i++)
        kb_map_put(index, map->items[i].key, &map->items[i]);
}

void kb_rules_configmap(const struct kb_node *obj, struct kb_causes *causes)
{
    const struct kb_node *data = kb_node_get(obj, "data"), *bin = kb_node_get(obj, "binaryData");
    struct kb_at at = kb_at_field(NULL, "data");
    KB_AUTO(kb_map_finish) struct kb_map index = {0};
    if (kb__members(bin))
        index_members(data, &index);
    for (uint32_t i = 0; i < kb__members(bin); i++) {
        struct kb_at here = kb_at_key(&at, bin->items[i].key);
        if (kb_map_get(&index, bin->items[i].key) != NULL)
            kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, bin->items[i].key,
                              "duplicate of key present in binaryData");
    }
    if (bytes_of(data, false) + bytes_of(bin, true) > DATA_MAX_BYTES)
        kb_causes_add(causes, KB_CAUSE_TOO_LONG, NULL, NULL, "may not be more than %d bytes",
                      DATA_MAX_BYTES);
}

void kb_rules_secret_default(struct kb_arena *arena, struct kb_node *obj)
{
    struct kb_node *plain = kb_node_get(obj, "stringData");
    struct kb_node *data = kb__members(plain) ? kb_node_ensure(arena, obj, "data") : NULL;
    KB_AUTO(kb_map_finish) struct kb_map index = {0};
    if (data)
        index_members(data, &index);
    uint32_t before = kb__members(data);
    for (uint32_t i = 0; i < kb__members(plain); i++) {
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        kb_base64_encode(kb_node_text(plain->items[i].val), &text);
        struct kb_node *encoded = kb_node_str(arena, kb_buf_str(&text));
        const struct kb_member *there = before ? kb_map_get(&index, plain->items[i].key) : NULL;
        if (there) {
            *there->val = *encoded;
            continue;
        }
        kb_node_insert(arena, data, data->count, encoded);
        data->items[data->count - 1].key = plain->items[i].key;
    }
    kb_node_del(obj, "stringData");
}

static void need_key(const struct kb_node *data, const char *key, const struct kb_at *at,
                     struct kb_causes *causes)
{
    struct kb_at here = kb_at_key(at, kb_str_of(key));
    if (kb_node_get(data, key) == NULL)
        kb_causes_add(causes, KB_CAUSE_REQUIRED, &here, NULL, NULL);
}

static void need_json(const struct kb_node *data, const char *key, const struct kb_at *at,
                      struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    struct kb_at here = kb_at_key(at, kb_str_of(key));
    struct kb_err err = {0};
    need_key(data, key, at, causes);
    if (kb_node_get(data, key) == NULL || kb_base64_decode(kb__text(data, key), &text) < 0)
        return;
    if (kb_json_doc(kb_buf_str(&text), &doc, &err) < 0)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, kb_str_of("<secret contents redacted>"),
                          "%s", err.text);
}

/* Types that promise something promise certain keys. */
static void secret_type(kb_str type, const struct kb_node *obj, struct kb_causes *causes)
{
    const struct kb_node *data = kb_node_get(obj, "data");
    struct kb_at at = kb_at_field(NULL, "data");
    if (kb_str_is(type, "kubernetes.io/service-account-token")) {
        static const char name[] = "kubernetes.io/service-account.name";
        struct kb_at meta = kb_at_field(NULL, "metadata.annotations");
        struct kb_at here = kb_at_key(&meta, kb_str_of(name));
        if (!kb__set(kb_node_at(obj, "metadata.annotations"), name))
            kb_causes_add(causes, KB_CAUSE_REQUIRED, &here, NULL, NULL);
    } else if (kb_str_is(type, "kubernetes.io/dockercfg")) {
        need_json(data, ".dockercfg", &at, causes);
    } else if (kb_str_is(type, "kubernetes.io/dockerconfigjson")) {
        need_json(data, ".dockerconfigjson", &at, causes);
    } else if (kb_str_is(type, "kubernetes.io/basic-auth")) {
        if (kb_node_get(data, "username") == NULL && kb_node_get(data, "password") == NULL) {
            need_key(data, "username", &at, causes);
            need_key(data, "password", &at, causes);
        }
    } else if (kb_str_is(type, "kubernetes.io/ssh-auth")) {
        need_key(data, "ssh-privatekey", &at, causes);
    } else if (kb_str_is(type, "kubernetes.io/tls")) {
        need_key(data, "tls.crt", &at, causes);
        need_key(data, "tls.key", &at, causes);
    }
}

void kb_rules_secret(const struct kb_node *obj, struct kb_causes *causes)
{
    struct kb_at at = kb_at_field(NULL, "data");
    if (bytes_of(kb_node_get(obj, "data"), true) > DATA_MAX_BYTES)
        kb_causes_add(causes, KB_CAUSE_TOO_LONG, &at, NULL, "may not be more than %d bytes",
                      DATA_MAX_BYTES);
    secret_type(kb__text(obj, "type"), obj, causes);
}

/* ---- Nodes ---- */

void kb_rules_node_default(struct kb_arena *arena, struct kb_node *obj)
{
    struct kb_node *spec = kb_node_get(obj, "spec"), *all = kb_node_get(spec, "podCIDRs");
    kb_str one = kb__text(spec, "podCIDR");
    if (spec == NULL || spec->type != KB_MAP)
        return;
    if (one.n > 0 && kb__count(all) == 0) {
        struct kb_node *list = kb_node_array(arena);
        kb_node_append(arena, list, kb_node_str(arena, one));
        kb_node_put(arena, spec, "podCIDRs", list);
    } else if (one.n == 0 && kb__count(all) > 0) {
        kb_node_put(arena, spec, "podCIDR", kb_node_str(arena, kb_node_text(kb__item(all, 0))));
    }
}

void kb_rules_node(const struct kb_node *obj, struct kb_causes *causes)
{
    const struct kb_node *spec = kb_node_get(obj, "spec"), *all = kb_node_get(spec, "podCIDRs");
    struct kb_at at = kb_at_field(NULL, "spec"), list = kb_at_field(&at, "podCIDRs");
    struct kb_at here = kb_at_index(&list, 0);
    if (kb__count(all) > 0 && !kb_str_eq(kb_node_text(kb__item(all, 0)), kb__text(spec, "podCIDR")))
        kb_causes_add(causes, KB_CAUSE_INVALID, &here, kb__item(all, 0), "must match podCIDR");
    if (kb__count(all) > 2)
        KB__BAD(causes, INVALID, &at, spec, "podCIDRs",
                "may specify no more than one CIDR for each IP family");
}

/* ---- Events ---- */

void kb_rules_event(const struct kb_node *obj, struct kb_causes *causes)
{
    kb_str ns = kb_node_text_at(obj, "metadata.namespace");
    const struct kb_node *involved = kb_node_get(obj, "involvedObject");
    kb_str of = kb__text(involved, "namespace");
    struct kb_at at = kb_at_field(NULL, "involvedObject");
    bool cluster_wide = of.n == 0 && (kb_str_is(ns, "default") || kb_str_is(ns, "kube-system"));
    if (!kb_str_eq(ns, of) && !cluster_wide)
        KB__BAD(causes, INVALID, &at, involved, "namespace", "does not match event.namespace");
}
