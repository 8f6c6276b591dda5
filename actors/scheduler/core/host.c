#include "actors/scheduler/core/host.h"

#include "actors/scheduler/core/core.h"

static struct kb_columns *columns(void *core)
{
    return kb_core_columns(core);
}

/* ---- requirements on nodes ---- */

static void match_values(const struct kb_policy_requirement *r, const uint32_t *column, uint32_t n,
                         uint8_t *hit)
{
    for (uint32_t i = 0; i < n; i++) {
        bool among = false;
        for (uint32_t v = 0; v < r->values_n; v++)
            among |= column[i] == r->values[v];
        hit[i] &= among == (r->op == KB_POLICY_IN);
    }
}

static void match_number(void *core, const struct kb_policy_requirement *r, const uint32_t *column,
                         uint32_t n, uint8_t *hit)
{
    const struct kb_intern *intern = columns(core)->intern;
    for (uint32_t i = 0; i < n; i++) {
        int64_t number;
        hit[i] &= column[i] != 0 && kb_intern_number(intern, column[i], &number) &&
                  (r->op == KB_POLICY_GT ? number > r->number : number < r->number);
    }
}

static void match_one(void *core, const struct kb_policy_requirement *r, uint32_t from, uint32_t n,
                      uint8_t *hit)
{
    struct kb_columns *c = columns(core);
    if (r->invalid) {
        memset(hit, 0, n);
        return;
    }
    const uint32_t *column = (r->key == 0 ? c->view.name : kb_columns_label(c, r->key)) + from;
    switch (r->op) {
    case KB_POLICY_IN:
    case KB_POLICY_NOT_IN:
        match_values(r, column, n, hit);
        break;
    case KB_POLICY_EXISTS:
    case KB_POLICY_DOES_NOT_EXIST:
        for (uint32_t i = 0; i < n; i++)
            hit[i] &= (column[i] != 0) == (r->op == KB_POLICY_EXISTS);
        break;
    default:
        match_number(core, r, column, n, hit);
    }
}

static void host_match(void *core, const struct kb_policy_requirement *all, uint32_t n,
                       uint32_t from, uint32_t to, uint8_t *hit)
{
    memset(hit, 1, to - from);
    for (uint32_t i = 0; i < n; i++)
        match_one(core, &all[i], from, to - from, hit);
}

/* ---- pods ---- */

static const struct kb_policy_domains *host_domains(void *core, uint32_t key)
{
    return kb_columns_domains(columns(core), key);
}

static const struct kb_policy_count *
host_count(void *core, const struct kb_policy_pods_selector *all, uint32_t n, bool ending)
{
    return kb_pods_count(&columns(core)->pods, all, n, ending);
}

static void host_count_end(void *core, const struct kb_policy_count *count)
{
    kb_pods_count_end(&columns(core)->pods, count);
}

static bool host_selects(void *core, const struct kb_policy_pods_selector *pods,
                         const struct kb_policy_pod *pod)
{
    struct kb_pod_labels labels = {pod->labels_n, pod->labels};
    return kb_pods_selects(&columns(core)->pods, pods, pod->ns, labels);
}

static uint32_t host_carried(void *core, const struct kb_policy_pod *pod,
                             const struct kb_policy_carried **ret_terms)
{
    return kb_pods_carried(&columns(core)->pods, pod, ret_terms);
}

static bool host_default_spread(void *core, const struct kb_policy_pod *pod,
                                struct kb_policy_pods_selector *ret_pods)
{
    return kb_owners_spread(&columns(core)->owners, pod, ret_pods);
}

static const struct kb_policy_versions *host_versions(void *core)
{
    return &columns(core)->pods.versions;
}

static uint32_t host_image(void *core, uint32_t name, const struct kb_policy_image **ret_nodes)
{
    return kb_images_holders(&columns(core)->images, name, ret_nodes);
}

void kb__host_fill_pods(struct kb_policy_host *host)
{
    host->match = host_match;
    host->domains = host_domains;
    host->count = host_count;
    host->count_end = host_count_end;
    host->selects = host_selects;
    host->carried = host_carried;
    host->default_spread = host_default_spread;
    host->versions = host_versions;
    host->image = host_image;
}
