/* deployment.c - a Deployment is a rollout between ReplicaSets.
 *
 * Each template of pods has a ReplicaSet of its own, whose name carries a hash of the template. The
 * one whose template is the Deployment's is the new one, all others are old. A run looks at their
 * sizes and moves one step: new ones up as far as maxSurge allows, old ones down as far as
 * maxUnavailable allows. Every step follows from what is there, so a controller that died in
 * between goes on where it was.
 *
 * A run computes on copies of the sizes and ends in at most one patch a ReplicaSet and one of the
 * status. */
#include "plugins/controllers/deployment/deployment.h"

static int64_t amount(kb_val value, int64_t of, bool up)
{
    kb_str text = kb_val_str(value);
    int64_t percent;
    if (!kb_str_ends(text, "%") || !kb_str_i64(kb_str_n(text.p, text.n - 1), &percent))
        return kb_val_int32(value, 0);
    if (percent < 0 || percent > INT32_MAX)
        return 0;
    return (percent * of + (up ? 99 : 0)) / 100;
}

/* maxSurge and maxUnavailable for this size; both zero would be a standstill. */
static void resolve_bounds(struct rollout *r, kb_val doc)
{
    kb_val rolling = kb_val_at(doc, "spec.strategy.rollingUpdate");
    if (!r->rolling)
        return;
    r->surge = amount(kb_val_get(rolling, "maxSurge"), r->replicas, true);
    r->unavailable = amount(kb_val_get(rolling, "maxUnavailable"), r->replicas, false);
    if (r->surge == 0 && r->unavailable == 0)
        r->unavailable = 1;
    if (r->unavailable > r->replicas)
        r->unavailable = r->replicas;
}

static void rollout_init(struct rollout *r, kb_controller *c, const struct kb_object *d)
{
    kb_val spec = kb_val_get(d->doc, "spec");
    *r = (struct rollout){.c = c, .a = kb_arena(c), .d = d, .uid = kb_meta_uid(d->doc)};
    r->rolling = !kb_str_is(kb_val_str_at(spec, "strategy.type"), "Recreate");
    r->paused = kb_val_bool_at(spec, "paused", false);
    r->replicas = kb_val_int32_at(spec, "replicas", 1);
    r->replicas = r->replicas < 0 ? 0 : r->replicas;
    r->deadline_s = kb_val_int32_at(spec, "progressDeadlineSeconds", INT32_MAX);
    r->has_deadline = r->deadline_s != INT32_MAX;
    r->history = kb_val_int32_at(spec, "revisionHistoryLimit", INT32_MAX);
    r->collisions = kb_val_int32_at(d->doc, "status.collisionCount", 0);
    r->status = kb_node_of(r->a, kb_val_get(d->doc, "status"));
    if (r->status == NULL || r->status->type != KB_MAP)
        r->status = kb_node_map(r->a);
    resolve_bounds(r, d->doc);
}

/* ---- whose ReplicaSets: adopt those that match and have no controller, release those that do not
 * ---- */

static struct kb_node *owners_without(struct rollout *r, kb_val doc)
{
    struct kb_node *list = kb_node_array(r->a);
    for (struct kb_iter it = kb_iter(kb_val_at(doc, "metadata.ownerReferences"));
         kb_iter_next(&it);)
        if (!kb_str_eq(kb_val_str_at(it.val, "uid"), r->uid))
            kb_node_append(r->a, list, kb_node_of(r->a, it.val));
    return list;
}

static void wish_owner(struct rollout *r, const struct kb_object *rs, bool adopt)
{
    struct kb_node *patch = kb_node_map(r->a), *owners = owners_without(r, rs->doc);
    if (adopt)
        kb_node_append(r->a, owners, kb_owner_ref(r->a, r->d->doc, "apps/v1", "Deployment", true));
    kb_node_set(r->a, patch, "metadata.ownerReferences", owners);
    kb_wish_if_unchanged(kb_wish_patch(r->c, rs, NULL, patch));
}

/* True when somebody's controller has to be changed first; then this run does only that. */
static bool claim(struct rollout *r, const struct kb_selector *selector)
{
    struct kb_objects owned = kb_list_owned(r->c, RS, r->uid);
    struct kb_objects orphans = kb_list_orphans(r->c, RS, r->d->key.ns);
    bool changed = false;
    for (size_t i = 0; i < owned.count; i++) {
        if (kb_meta_deleting(owned.items[i]->doc) ||
            kb_selector_match_object(selector, owned.items[i]->doc))
            continue;
        wish_owner(r, owned.items[i], false);
        changed = true;
    }
    for (size_t i = 0; i < orphans.count; i++) {
        if (kb_meta_deleting(orphans.items[i]->doc) || kb_meta_deleting(r->d->doc) ||
            !kb_selector_match_object(selector, orphans.items[i]->doc))
            continue;
        wish_owner(r, orphans.items[i], true);
        changed = true;
    }
    return changed;
}

/* ---- one run ---- */

static void check_paused(struct rollout *r)
{
    kb_str reason = kb_val_str_at(kb_cond_get(r->d->doc, "Progressing"), "reason");
    bool was = kb_str_is(reason, "DeploymentPaused");
    if (!r->has_deadline || kb_str_is(reason, "ProgressDeadlineExceeded"))
        return;
    if (r->paused && !was)
        progress(r, "Unknown", "DeploymentPaused", kb_str_of("Deployment is paused"));
    else if (!r->paused && was)
        progress(r, "Unknown", "DeploymentResumed", kb_str_of("Deployment is resumed"));
}

/* The number of replicas was changed since the active ReplicaSets were last sized. */
static bool was_scaled(const struct rollout *r)
{
    for (size_t i = 0; i < r->nall; i++) {
        int64_t desired;
        if (r->all[i]->was == 0 || r->all[i]->object == NULL)
            continue;
        if (kb_str_i64(kb_meta_annotation(r->all[i]->object->doc, ANN_DESIRED), &desired) &&
            desired != r->replicas)
            return true;
    }
    return false;
}

static void wish_patches(struct rollout *r)
{
    for (size_t i = 0; i < r->nall; i++)
        if (r->all[i]->object && r->all[i]->patch)
            kb_wish_patch(r->c, r->all[i]->object, NULL, r->all[i]->patch);
}

/* A template that the API changes when it is written is never found again: each attempt to make its
 * ReplicaSet would make one more. Admission lets none through, but not all comes that way. One that
 * has been changed since is tried once more. */
static bool is_hopeless(const struct rollout *r)
{
    enum { COLLISIONS_MAX = 100 };
    int64_t seen = kb_val_int_at(r->d->doc, "status.observedGeneration", 0);
    return r->fresh == NULL && r->collisions > COLLISIONS_MAX &&
           seen >= kb_meta_generation(r->d->doc);
}

static void give_up(struct rollout *r)
{
    if (r->has_deadline)
        progress(r, "False", "ReplicaSetCreateError",
                 kb_str_of("Failed to create new replica set: all names for this template are "
                           "taken; change the template"));
    write_status(r, false);
}

static void run(struct rollout *r)
{
    find_replicasets(r);
    if (kb_meta_deleting(r->d->doc)) {
        write_status(r, false);
        return;
    }
    if (is_hopeless(r)) {
        give_up(r);
        return;
    }
    check_paused(r);
    if (r->paused || was_scaled(r)) {
        sync_fresh(r, false);
        scale_in_proportion(r);
        if (r->paused)
            clean_up(r);
        write_status(r, false);
    } else if (r->rolling) {
        roll(r);
    } else {
        recreate(r);
    }
    wish_patches(r);
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const struct kb_object *d = kb_get(c, "deployments.apps", key.ns, key.name);
    KB_AUTO(kb_selector_destroy) struct kb_selector *selector = NULL;
    struct rollout r;
    if (d == NULL)
        return 0;
    if (kb_selector_of(kb_val_at(d->doc, "spec.selector"), &selector, NULL) < 0 ||
        kb_selector_is_everything(selector)) {
        kb_event(c, d, "Warning", "SelectingAll",
                 "This deployment is selecting all pods. A non-empty selector is required.");
        return 0;
    }
    rollout_init(&r, c, d);
    if (!claim(&r, selector))
        run(&r);
    return 0;
}

KB_CONTROLLER("deployment-controller", .primary = "deployments.apps", .owns = {RS},
              .writes = {"deployments.apps", "deployments.apps/status", RS},
              .reconcile = reconcile);
