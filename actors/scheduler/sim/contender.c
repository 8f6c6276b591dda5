#include "actors/scheduler/sim/contender.h"

#include "actors/scheduler/policy_file.h"
#include "bus/base/check.h"
#include "bus/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- loading ---- */

static void keep(struct kb_contenders *c, struct kb_policy_file *file)
{
    c->files = realloc(c->files, (c->files_n + 1) * sizeof(*c->files));
    KB_ASSERT(c->files != NULL);
    c->files[c->files_n++] = file;
}

static int find(struct kb_contenders *c, const char *name, const struct kb_policy **ret,
                struct kb_err *err)
{
    struct kb_policy_file *file = NULL;
    bool is_file = strchr(name, '/') || kb_str_ends(kb_str_of(name), ".so");
    *ret = is_file ? NULL : kb_policy_builtin(name);
    if (*ret != NULL)
        return 0;
    KB_AUTO(kb_auto_free)
    char *path = !is_file                    ? kb_policy_file_shipped(name)
                 : strchr(name, '/') == NULL ? kb_strf("./%s", name)
                                             : kb_strf("%s", name);
    if (path == NULL || (!is_file && access(path, R_OK) != 0))
        return kb_err_set(err, KB_ENOTFOUND, "there is no policy '%s'", name);
    int rc = kb_policy_file_open(path, &file, err);
    if (rc < 0)
        return rc;
    keep(c, file);
    *ret = file->policy;
    return 0;
}

/* ---- contenders ---- */

void kb_contenders_finish(struct kb_contenders *c)
{
    kb_config_finish(&c->config);
    free(c->at);
    for (size_t i = 0; i < c->files_n; i++)
        kb_policy_file_close(&c->files[i]);
    free(c->files);
    *c = (struct kb_contenders){0};
}

static struct kb_contender *add(struct kb_contenders *c, const char *name)
{
    if (c->at == NULL)
        c->at = calloc(KB_CONTENDERS, sizeof(*c->at));
    KB_ASSERT(c->at != NULL);
    if (c->n == KB_CONTENDERS)
        return NULL;
    struct kb_contender *one = &c->at[c->n++];
    snprintf(one->name, sizeof(one->name), "%s", name);
    return one;
}

void kb_contenders_add_default(struct kb_contenders *c)
{
    struct kb_contender *one = add(c, "Kubernetes");
    for (size_t i = 0; one != NULL && i < kb_profile_default_n; i++)
        one->entries[one->n++] = kb_profile_default[i];
}

int kb_contenders_add_policy(struct kb_contenders *c, const char *name_or_file, struct kb_err *err)
{
    const struct kb_policy *policy;
    bool there = false;
    int rc = find(c, name_or_file, &policy, err);
    if (rc < 0)
        return rc;
    struct kb_contender *one = add(c, policy->name);
    if (one == NULL)
        return kb_err_set(err, KB_EFULL, "more than %d contenders", KB_CONTENDERS);
    for (size_t i = 0; i < kb_profile_default_n; i++) {
        struct kb_profile_entry *entry = &one->entries[one->n++];
        *entry = kb_profile_default[i];
        if (entry->policy == policy)
            there = true;
        else
            entry->without |= 1u << KB_POINT_PRE_SCORE | 1u << KB_POINT_SCORE;
    }
    if (!there)
        one->entries[one->n++] = (struct kb_profile_entry){.policy = policy};
    return 0;
}

int kb_contenders_know(struct kb_contenders *c, const char *file, struct kb_err *err)
{
    const struct kb_policy *policy;
    return find(c, file, &policy, err);
}

const struct kb_policy *kb_contender_resolve(void *user, const char *name)
{
    struct kb_contenders *c = user;
    const struct kb_policy *policy;
    struct kb_err err = {0};
    for (size_t i = 0; i < c->files_n; i++)
        if (strcmp(c->files[i]->policy->name, name) == 0)
            return c->files[i]->policy;
    if (strchr(name, '/') || find(c, name, &policy, &err) < 0)
        return NULL;
    return policy;
}

const struct kb_policy *kb_contender_resolve_version(void *user, const char *name,
                                                     const char *version)
{
    struct kb_contenders *c = user;
    for (size_t i = 0; version && i < c->files_n; i++)
        if (strcmp(c->files[i]->policy->name, name) == 0 &&
            strcmp(c->files[i]->version, version) == 0)
            return c->files[i]->policy;
    return kb_contender_resolve(user, name);
}

int kb_contenders_add_profiles(struct kb_contenders *c, const char *path, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    int rc = kb_file_read(path, KB_CONFIG_MAX_BYTES, &text, err);
    if (rc < 0)
        return rc;
    rc = kb_config_parse(kb_buf_str(&text), kb_contender_resolve, c, &c->config, err);
    if (rc < 0)
        return kb_err_wrap(err, "%s", path);
    for (size_t i = 0; i < c->config.profiles_n; i++) {
        const struct kb_config_profile *p = &c->config.profiles[i];
        struct kb_contender *one = add(c, p->name);
        if (one == NULL)
            return kb_err_set(err, KB_EFULL, "more than %d contenders", KB_CONTENDERS);
        one->n = p->n;
        one->backoff_ms = c->config.backoff_ms;
        one->backoff_max_ms = c->config.backoff_max_ms;
        for (size_t k = 0; k < p->n; k++)
            one->entries[k] = p->entries[k];
    }
    return 0;
}
