#include "actors/cli/policies.h"

#include "actors/cli/cluster.h"
#include "bus/base/clock.h"
#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/model/yaml.h"

#include <stdlib.h>

enum { CALL_TIMEOUT_MS = 10000, APPLY_TIMEOUT_MS = 30000, POLL_MS = 20 };

/* ---- the bus ---- */

int kb_policies_open(struct kb_policies *p, const char *data_dir, struct kb_err *err)
{
    *p = (struct kb_policies){0};
    if (!kb_cluster_runs(data_dir))
        return kb_err_set(err, KB_EUNAVAILABLE, "no cluster is running in %s", data_dir);
    return kb_tool_open(data_dir, &p->tool, err);
}

void kb_policies_finish(struct kb_policies *p)
{
    kb_actor_destroy(&p->tool);
    kb_arena_finish(&p->arena);
}

int kb_policies_call(struct kb_policies *p, const char *scheduler, const char *method, kb_val body,
                     struct kb_doc **ret, struct kb_err *err)
{
    return kb_tool_call(p->tool, scheduler, method, body, CALL_TIMEOUT_MS, ret, err);
}

int kb_policies_schedulers(struct kb_policies *p, struct kb_node **ret_names, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *status = NULL;
    struct kb_node *names = kb_node_array(&p->arena);
    int rc = kb_policies_call(p, "kernel", "kernel.status", (kb_val){0}, &status, err);
    if (rc < 0)
        return rc;
    for (struct kb_iter it = kb_iter(kb_doc_at(status, "actors")); kb_iter_next(&it);) {
        kb_str name = kb_val_str_at(it.val, "name");
        if ((kb_str_is(name, "scheduler") || kb_str_starts(name, "scheduler-")) &&
            !kb_str_is(kb_val_str_at(it.val, "state"), "stopped"))
            kb_node_append(&p->arena, names, kb_node_str(&p->arena, name));
    }
    if (names->count == 0)
        return kb_err_set(err, KB_EUNAVAILABLE, "no scheduler is running");
    *ret_names = names;
    return 0;
}

/* ---- reading ---- */

static struct kb_node *parse_text(struct kb_policies *p, kb_str text, struct kb_err *err)
{
    struct kb_node *node = NULL;
    KB_AUTO(kb_auto_free) char *copy = kb_str_dup(text);
    if (kb_yaml_parse_one(&p->arena, kb_str_n(copy, text.n), NULL, &node, err) < 0)
        return NULL;
    if (node->type == KB_MAP)
        return node;
    return kb_node_map(&p->arena);
}

static struct kb_node *with_head(struct kb_arena *a, struct kb_node *config)
{
    if (kb_node_get(config, "kind") == NULL)
        kb_node_set_cstr(a, config, "kind", "KubeSchedulerConfiguration");
    if (kb_node_get(config, "apiVersion") == NULL)
        kb_node_set_cstr(a, config, "apiVersion", "kubescheduler.config.k8s.io/v1");
    return config;
}

int kb_policies_read(struct kb_policies *p, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *found = NULL;
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    kb_w_map(&body);
    kb_w_kcstr(&body, "key", "configmaps/kube-system/kubus-scheduler");
    kb_w_end(&body);
    int rc =
        kb_tool_call(p->tool, "store", "store.get", kb_w_val(&body), CALL_TIMEOUT_MS, &found, err);
    if (rc < 0 && rc != -KB_ENOTFOUND)
        return rc;
    kb_val data = kb_doc_at(found, "doc.data");
    p->rev = kb_val_int(kb_doc_at(found, "rev"), 0);
    p->config = parse_text(p, kb_val_str(kb_val_getn(data, kb_str_of("config.yaml"))), err);
    p->versions = parse_text(p, kb_val_str(kb_val_get(data, "policies")), err);
    if (p->config == NULL || p->versions == NULL)
        return kb_err_wrap(err, "configmap kube-system/kubus-scheduler");
    with_head(&p->arena, p->config);
    return 0;
}

int kb_policies_read_file(struct kb_policies *p, const char *path, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    int rc = kb_file_read(path, KB_BODY_MAX_BYTES, &text, err);
    if (rc < 0)
        return kb_err_wrap(err, "'%s'", path);
    struct kb_node *config = parse_text(p, kb_buf_str(&text), err);
    if (config == NULL)
        return kb_err_wrap(err, "'%s'", path);
    p->config = config;
    return 0;
}

/* ---- writing ---- */

static void write_data(struct kb_policies *p, const char *config_key, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf config = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf versions = {0};
    kb_yaml_write_node(&config, p->config);
    if (p->versions->count > 0)
        kb_yaml_write_node(&versions, p->versions);
    kb_w_map(w);
    kb_w_kstr(w, config_key, kb_buf_str(&config));
    kb_w_kstr(w, "policies", kb_buf_str(&versions));
    kb_w_end(w);
}

static void write_object(struct kb_policies *p, struct kb_w *w)
{
    kb_w_map(w);
    if (p->rev == 0) {
        kb_w_kcstr(w, "apiVersion", "v1");
        kb_w_kcstr(w, "kind", "ConfigMap");
        kb_w_kmap(w, "metadata");
        kb_w_kcstr(w, "name", "kubus-scheduler");
        kb_w_kcstr(w, "namespace", "kube-system");
        kb_w_end(w);
    }
    kb_w_key(w, "data");
    write_data(p, "config.yaml", w);
    kb_w_end(w);
}

static int send_object(struct kb_policies *p, int64_t *ret_rev, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *done = NULL;
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    kb_w_map(&body);
    kb_w_kcstr(&body, "resource", "configmaps");
    kb_w_kcstr(&body, "ns", "kube-system");
    kb_w_kcstr(&body, "manager", "kubus");
    if (p->rev != 0) {
        kb_w_kcstr(&body, "name", "kubus-scheduler");
        kb_w_kcstr(&body, "type", "merge");
        kb_w_kint(&body, "rev", p->rev);
    }
    kb_w_key(&body, p->rev ? "patch" : "doc");
    write_object(p, &body);
    kb_w_end(&body);
    int rc = kb_tool_call(p->tool, "api", p->rev ? "object.patch" : "object.create",
                          kb_w_val(&body), CALL_TIMEOUT_MS, &done, err);
    if (rc == 0)
        *ret_rev = kb_val_int(kb_doc_at(done, "rev"), 0);
    return rc;
}

/* Until this scheduler has looked at the revision; then its word on it. */
static int wait_for(struct kb_policies *p, const char *scheduler, int64_t rev, kb_ms give_up,
                    struct kb_err *err)
{
    for (;;) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *state = NULL;
        struct kb_err last = {0};
        int rc = kb_tool_call(p->tool, scheduler, "scheduler.policies", (kb_val){0}, 2000, &state,
                              &last);
        if (rc == 0 && kb_val_int(kb_doc_at(state, "rev"), 0) >= rev) {
            kb_str message = kb_val_str(kb_doc_at(state, "message"));
            return message.n ? kb_err_set(err, KB_EINVAL, KB_STR_FMT, KB_STR_ARG(message)) : 0;
        }
        if (kb_clock_now(kb_clock_system()) > give_up)
            return kb_err_set(err, KB_ETIMEOUT, "%s has not looked at it yet", scheduler);
        if (!kb_tool_wait(p->tool, POLL_MS))
            return kb_err_set(err, KB_ECANCELED, "interrupted");
    }
}

/* Would it be used? Nothing is written that would not. */
static int check(struct kb_policies *p, const struct kb_node *names, struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_node_text(names->items[0].val));
    write_data(p, "config", &body);
    return kb_policies_call(p, name, "scheduler.check", kb_w_val(&body), NULL, err);
}

int kb_policies_write(struct kb_policies *p, struct kb_err *err)
{
    struct kb_node *names;
    kb_ms give_up = kb_clock_now(kb_clock_system()) + APPLY_TIMEOUT_MS;
    int64_t rev = 0;
    int rc = kb_policies_schedulers(p, &names, err);
    if (rc == 0)
        rc = check(p, names, err);
    if (rc == 0)
        rc = send_object(p, &rev, err);
    for (uint32_t i = 0; rc == 0 && i < names->count; i++) {
        KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_node_text(names->items[i].val));
        rc = wait_for(p, name, rev, give_up, err);
    }
    return rc;
}
