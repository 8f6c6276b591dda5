/* VolumeRestrictions: a claim that is for one pod alone is used by one pod of the cluster, and some
 * kinds of disks named in pods by one pod of a node, or by several that only read. */
#include <kubus/policy/volumes_seen.h>

#include <stdio.h>

enum { DISK = 1, ONE_POD }; /* codes of verdicts */

/* A claim that does not exist, by its place in the pod; claims_n: all do. */
static uint32_t missing(struct kb_policy_cycle *c)
{
    const struct kb_policy_storage *s = c->host->storage;
    uint32_t i = 0;
    while (i < c->pod->claims_n &&
           (c->pod->claims[i].ephemeral ||
            s->claim(c->host->core, c->pod->claims[i].ns, c->pod->claims[i].name) != NULL))
        i++;
    return i;
}

static bool taken(struct kb_policy_cycle *c)
{
    for (uint32_t i = 0; i < c->pod->claims_n; i++) {
        const struct kb_policy_claim_name *use = &c->pod->claims[i];
        const struct kb_policy_claim *claim =
            use->ephemeral ? NULL : c->host->storage->claim(c->host->core, use->ns, use->name);
        if (claim && (claim->access & KB_POLICY_READ_WRITE_ONCE_POD) && claim->users > 0)
            return true;
    }
    return false;
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    kb_policy_volumes_look(c, sizeof(struct kb_policy_volumes_seen));
    if (missing(c) < c->pod->claims_n)
        return KB_POLICY_UNSCHEDULABLE;
    return c->pod->disks_n > 0 || taken(c) ? KB_POLICY_OK : KB_POLICY_SKIP;
}

static bool conflicts(struct kb_policy_cycle *c, uint32_t node)
{
    const struct kb_policy_disk *held;
    uint32_t n = c->host->storage->node_disks(c->host->core, node, &held);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < c->pod->disks_n; k++)
            if (held[i].id == c->pod->disks[k].id &&
                !(held[i].read_only && c->pod->disks[k].read_only))
                return true;
    return false;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    bool elsewhere = taken(c);
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = conflicts(c, i) ? DISK : elsewhere ? ONE_POD : 0;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    char text[400];
    uint32_t i = code == 0 ? missing(c) : 0;
    if (code == 0 && i < c->pod->claims_n) {
        snprintf(text, sizeof(text), "persistentvolumeclaim \"%s\" not found",
                 c->host->text(c->host->core, c->pod->claims[i].name));
        emit(to, text);
        return;
    }
    emit(to, code == DISK ? "node(s) had no available disk"
                          : "node has pod using PersistentVolumeClaim with the same name and "
                            "ReadWriteOncePod access mode");
}

static void release(struct kb_policy_cycle *c)
{
    free(c->state);
}

KB_POLICY(VolumeRestrictions, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_POD_DELETE | KB_POLICY_ON_OBJECT,
          .pre_filter = pre_filter, .filter = filter, .reason = reason, .release = release,
          .stale = kb_policy_volumes_stale);
