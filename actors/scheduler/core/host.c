#include "actors/scheduler/core/host.h"

#include "actors/scheduler/core/core.h"
#include "actors/scheduler/core/selectors.h"
#include "bus/model/json.h"

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
        hit[i] &= kb_op_among(r->op, among);
    }
}

static void match_number(void *core, const struct kb_policy_requirement *r, const uint32_t *column,
                         uint32_t n, uint8_t *hit)
{
    const struct kb_intern *intern = columns(core)->intern;
    for (uint32_t i = 0; i < n; i++) {
        int64_t number;
        hit[i] &= column[i] != 0 && kb_intern_number(intern, column[i], &number) &&
                  kb_op_beyond(r->op, number, r->number);
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
            hit[i] &= kb_op_there(r->op, column[i] != 0);
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

static const struct kb_policy_tally *host_tally(void *core, const struct kb_policy_count *count,
                                                uint32_t key)
{
    struct kb_columns *c = columns(core);
    return kb_pods_tally(&c->pods, count, key, kb_columns_domains(c, key));
}

/* ---- volumes ---- */

static const struct kb_policy_claim *host_claim(void *core, uint32_t ns, uint32_t name)
{
    return kb_volumes_claim(&columns(core)->volumes, ns, name);
}

static const struct kb_policy_volume *host_volume(void *core, uint32_t name)
{
    return kb_volumes_volume(&columns(core)->volumes, name);
}

static const struct kb_policy_storage_class *host_storage_class(void *core, uint32_t name)
{
    return kb_volumes_class(&columns(core)->volumes, name);
}

static uint32_t host_volumes_of(void *core, uint32_t class_name, const uint32_t **ret_names)
{
    return kb_volumes_of_class(&columns(core)->volumes, class_name, ret_names);
}

static int64_t host_limit(void *core, uint32_t node, uint32_t driver)
{
    struct kb_columns *c = columns(core);
    return kb_volumes_limit(&c->volumes, c->view.name[node], driver);
}

static uint32_t host_node_claims(void *core, uint32_t node,
                                 const struct kb_policy_claim_name **ret_claims)
{
    const struct kb_volumes *v = &columns(core)->volumes;
    *ret_claims = node < v->cap ? v->uses[node].claims : NULL;
    return node < v->cap ? v->uses[node].claims_n : 0;
}

static uint32_t host_node_disks(void *core, uint32_t node, const struct kb_policy_disk **ret_disks)
{
    const struct kb_volumes *v = &columns(core)->volumes;
    *ret_disks = node < v->cap ? v->uses[node].disks : NULL;
    return node < v->cap ? v->uses[node].disks_n : 0;
}

static void host_hold(void *core, const struct kb_policy_claim *claim, uint32_t volume,
                      uint32_t node)
{
    struct kb_columns *c = columns(core);
    kb_volumes_hold(&c->volumes, claim, volume, c->view.name[node]);
    c->pods.versions.volumes = c->volumes.version;
}

static void host_let_go(void *core, uint32_t ns, uint32_t claim)
{
    struct kb_columns *c = columns(core);
    kb_volumes_let_go(&c->volumes, ns, claim);
    c->pods.versions.volumes = c->volumes.version;
}

static void host_bind(void *core, uint32_t ns, uint32_t claim)
{
    kb_volumes_bind(&columns(core)->volumes, ns, claim);
}

static const struct kb_policy_storage storage = {.size = sizeof(storage),
                                                 .claim = host_claim,
                                                 .volume = host_volume,
                                                 .storage_class = host_storage_class,
                                                 .volumes_of = host_volumes_of,
                                                 .limit = host_limit,
                                                 .node_claims = host_node_claims,
                                                 .node_disks = host_node_disks,
                                                 .hold = host_hold,
                                                 .let_go = host_let_go,
                                                 .bind = host_bind};

/* ---- arguments ---- */

static bool host_arg(void *core, const char *args, const char *path, struct kb_policy_arg *ret)
{
    struct kb_err err = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    *ret = (struct kb_policy_arg){.kind = KB_POLICY_ARG_NONE};
    if (args == NULL || kb_json_doc(kb_str_of(args), &doc, &err) < 0)
        return false;
    kb_val v = kb_doc_at(doc, path);
    if (!kb_val_present(v))
        return false;
    switch (kb_val_type(v)) {
    case KB_BOOL:
        ret->kind = KB_POLICY_ARG_BOOL;
        ret->number = kb_val_bool(v, false);
        break;
    case KB_INT:
    case KB_DOUBLE:
        ret->kind = KB_POLICY_ARG_NUMBER;
        ret->number = kb_val_double(v, 0);
        break;
    case KB_STR:
        ret->kind = KB_POLICY_ARG_TEXT;
        ret->text = kb_intern_id(columns(core)->intern, kb_val_str(v));
        break;
    case KB_ARRAY:
        ret->kind = KB_POLICY_ARG_LIST;
        ret->n = (uint32_t)kb_val_count(v);
        break;
    default:
        ret->kind = KB_POLICY_ARG_OBJECT;
        ret->n = (uint32_t)kb_val_count(v);
    }
    return true;
}

/* Node selector terms at a path of the arguments, as a pod's required node affinity. They live as
 * long as the core. */
static bool host_arg_terms(void *core, const char *args, const char *path, bool preferred,
                           uint32_t *ret_n, const struct kb_policy_term **ret_terms)
{
    struct kb_err err = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    if (args == NULL || kb_json_doc(kb_str_of(args), &doc, &err) < 0)
        return false;
    kb_val list = kb_doc_at(doc, path);
    if (!kb_val_present(list))
        return false;
    *ret_terms =
        kb_podspec_terms(columns(core), &columns(core)->intern->arena, list, preferred, ret_n);
    return true;
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
    host->tally = host_tally;
    host->arg = host_arg;
    host->arg_terms = host_arg_terms;
    host->selects = host_selects;
    host->carried = host_carried;
    host->default_spread = host_default_spread;
    host->versions = host_versions;
    host->image = host_image;
    host->storage = &storage;
}
