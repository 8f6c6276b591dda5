#include "actors/kernel/plan.h"

#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

static int load_actor(kb_val val, const char *data_dir, struct kb_plan_actor *actor,
                      struct kb_err *err)
{
    kb_str name = kb_val_str_at(val, "name");
    kb_val args = kb_val_get(val, "argv");
    if (name.n == 0 || name.n > 128 || kb_val_count(args) == 0)
        return kb_err_set(err, KB_EINVAL, "an actor without name or argv");
    actor->name = kb_str_dup(name);
    actor->argv = calloc(kb_val_count(args) + 4, sizeof(char *));
    KB_ASSERT(actor->argv != NULL);
    size_t n = 0;
    actor->argv[n++] = kb_strf("kubus");
    for (struct kb_iter it = kb_iter(args); kb_iter_next(&it);)
        actor->argv[n++] = kb_str_dup(kb_val_str(it.val));
    actor->argv[n++] = kb_strf("--data");
    actor->argv[n] = kb_strf("%s", data_dir);
    return 0;
}

int kb_plan_parse(kb_str text, const char *data_dir, struct kb_plan *ret_plan, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    *ret_plan = (struct kb_plan){0};
    if (kb_json_doc(text, &doc, err) < 0)
        return -err->code;
    kb_val actors = kb_doc_at(doc, "actors");
    ret_plan->cluster_id = kb_str_dup(kb_val_str(kb_doc_at(doc, "clusterID")));
    ret_plan->actors = calloc(kb_val_count(actors) + 1, sizeof(*ret_plan->actors));
    KB_ASSERT(ret_plan->actors != NULL);
    for (struct kb_iter it = kb_iter(actors); kb_iter_next(&it);)
        if (load_actor(it.val, data_dir, &ret_plan->actors[ret_plan->n++], err) < 0)
            return -err->code;
    return 0;
}

int kb_plan_load(const char *data_dir, struct kb_plan *ret_plan, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/cluster.json", data_dir);
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    *ret_plan = (struct kb_plan){0};
    if (kb_file_read(path, KB_FILE_MAX_BYTES, &text, err) < 0 ||
        kb_plan_parse(kb_buf_str(&text), data_dir, ret_plan, err) < 0)
        return kb_err_wrap(err, "'%s'", path);
    return 0;
}

void kb_plan_finish(struct kb_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        for (char **arg = plan->actors[i].argv; arg && *arg; arg++)
            free(*arg);
        free(plan->actors[i].argv);
        free(plan->actors[i].name);
    }
    free(plan->actors);
    free(plan->cluster_id);
    *plan = (struct kb_plan){0};
}

const struct kb_plan_actor *kb_plan_find(const struct kb_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n; i++)
        if (strcmp(plan->actors[i].name, name) == 0)
            return &plan->actors[i];
    return NULL;
}

bool kb_plan_fits(const struct kb_plan_actor *actor, int pid)
{
    KB_AUTO(kb_buf_finish) struct kb_buf is = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf want = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("/proc/%d/cmdline", pid);
    if (kb_file_read(path, KB_FILE_MAX_BYTES, &is, NULL) < 0)
        return false;
    for (char **arg = actor->argv; *arg; arg++)
        kb_buf_add(&want, *arg, strlen(*arg) + 1);
    return kb_str_eq(kb_buf_str(&is), kb_buf_str(&want));
}
