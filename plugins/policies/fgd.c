/* FGD: fragmentation gradient descent (Weng et al., "Beware of Fragmentation: Scheduling
 * GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023). Put the pod where
 * the GPU that becomes useless for tomorrow's pods grows least.
 *
 * THE MEASURE. Let M be the typical pods: those that make up 95 % ("popularity") of the workload,
 * the most frequent first; pod m comes with probability p(m). Of a node, the GPU that is a fragment
 * for m is all its free GPU when m cannot run there (too little CPU, too few GPUs with enough free,
 * a model that m does not allow, or m does not use GPUs at all); and else what is free on those
 * GPUs that are too full for m. The node's fragmentation F is the mean over M. The score of a node
 * is 100 / (1 + e^-d) with d the decrease of F in GPUs, cut to an integer, so that all nodes of
 * nearly the same decrease are tied.
 *
 * HOW IT IS COMPUTED. Turned around: F = free − Σ p(m) · usable(m). For shares (one GPU, less than
 * a whole), usable(m) adds up over GPUs: each with at least m's share free counts what it has free.
 * So with S(f) = probability of the shares ≤ f that the node's CPU and model allow,
 *
 *     F = Σ_gpus f·(1 − S(f))  −  1000 · whole · W(whole)
 *
 * with `whole` the number of free GPUs and W(n) the probability of pods with at most n whole GPUs.
 * Both are tables over (model, CPU threshold), made when the workload changes; trying all GPUs of a
 * node for a share then costs two walks over its GPUs instead of one per GPU and typical pod.
 * Probabilities are counts of pods: everything is an integer, and exact. (A property test compares
 * this with the definition.) */
#include <kubus/policy.h>

#include <math.h>

enum { MILLI = KB_POLICY_GPU_MILLI, WHOLE_N = KB_POLICY_GPUS + 1 };

/* Sums over the typical pods that a node of one model may run, by its CPU: row b is for CPU that
 * reaches the first b thresholds. */
struct model {
    uint32_t id;
    int64_t *share; /* [row][steps + 1] pods whose share is among the first i steps */
    int64_t *whole; /* [row][WHOLE_N] pods with at most i whole GPUs */
};

/* F of a slot's node as it was when last asked: pods of other kinds ask about the same nodes. */
struct remembered {
    bool known;
    uint32_t model;
    int64_t cpu, sum;
    uint16_t left[KB_POLICY_GPUS];
};

struct fgd {
    double popularity;
    const struct kb_policy_host *host;
    uint64_t version;                 /* of the workload that the tables are for */
    struct kb_policy_demand *typical; /* those with more than one GPU by shares stand last */
    uint32_t typical_n, odd_n;        /* odd: the last ones, computed by the definition */
    int64_t pods;                     /* of all typical pods */
    int64_t *cpus;                    /* thresholds, rising */
    uint32_t cpus_n;
    uint16_t steps[MILLI]; /* shares that occur, rising */
    uint32_t steps_n;
    uint16_t step_of[MILLI + 1]; /* [milli] how many steps are ≤ it */
    struct model *models;
    uint32_t models_n;
    struct remembered *slots;
    uint32_t slots_n;
};

/* ---- the typical pods ---- */

static bool same_kind(const struct kb_policy_demand *a, const struct kb_policy_demand *b)
{
    return a->cpu == b->cpu && a->gpus == b->gpus && a->gpu_milli == b->gpu_milli &&
           a->gpu_models_n == b->gpu_models_n &&
           (a->gpu_models_n == 0 ||
            memcmp(a->gpu_models, b->gpu_models, a->gpu_models_n * sizeof(*a->gpu_models)) == 0);
}

/* Most pods first; then the larger. */
static int by_pods(const void *a, const void *b)
{
    const struct kb_policy_demand *x = a, *y = b;
    if (x->pods != y->pods)
        return x->pods > y->pods ? -1 : 1;
    if (x->cpu != y->cpu)
        return x->cpu > y->cpu ? -1 : 1;
    if (x->gpu_milli != y->gpu_milli)
        return x->gpu_milli > y->gpu_milli ? -1 : 1;
    if (x->gpus != y->gpus)
        return x->gpus > y->gpus ? -1 : 1;
    return x->gpu_models_n > y->gpu_models_n ? -1 : x->gpu_models_n < y->gpu_models_n;
}

static bool is_odd(const struct kb_policy_demand *d)
{
    return d->gpus > 1 && d->gpu_milli < MILLI;
}

/* What differs in memory alone is one kind. O(n²) over neighbours only: demands come ordered by CPU
 * first. */
static uint32_t merge(const struct kb_policy_workload *w, struct kb_policy_demand *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        uint32_t at = n;
        while (at > 0 && out[at - 1].cpu == w->demands[i].cpu &&
               !same_kind(&out[at - 1], &w->demands[i]))
            at--;
        if (at > 0 && same_kind(&out[at - 1], &w->demands[i]))
            out[at - 1].pods += w->demands[i].pods;
        else
            out[n++] = w->demands[i];
    }
    return n;
}

static void choose_typical(struct fgd *f, const struct kb_policy_workload *w)
{
    double all = 0, reached = 0;
    uint32_t n = merge(w, f->typical), last;
    qsort(f->typical, n, sizeof(*f->typical), by_pods);
    for (uint32_t i = 0; i < n; i++)
        all += (double)f->typical[i].pods;
    f->pods = 0;
    for (f->typical_n = 0; f->typical_n < n && reached < all * f->popularity / 100;
         f->typical_n++) {
        reached += (double)f->typical[f->typical_n].pods;
        f->pods += (int64_t)f->typical[f->typical_n].pods;
    }
    last = f->typical_n;
    for (uint32_t i = 0; i < last; i++) {
        if (!is_odd(&f->typical[i]))
            continue;
        struct kb_policy_demand odd = f->typical[i];
        f->typical[i--] = f->typical[--last];
        f->typical[last] = odd;
    }
    f->odd_n = f->typical_n - last;
}

/* ---- tables ---- */

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void find_thresholds(struct fgd *f)
{
    uint32_t n = 0;
    bool used[MILLI] = {false};
    for (uint32_t i = 0; i < f->typical_n; i++) {
        f->cpus[i] = f->typical[i].cpu;
        if (f->typical[i].gpus == 1 && f->typical[i].gpu_milli < MILLI)
            used[f->typical[i].gpu_milli] = true;
    }
    qsort(f->cpus, f->typical_n, sizeof(*f->cpus), by_number);
    for (uint32_t i = 0; i < f->typical_n; i++)
        if (n == 0 || f->cpus[n - 1] != f->cpus[i])
            f->cpus[n++] = f->cpus[i];
    f->cpus_n = n;
    f->steps_n = 0;
    for (uint32_t milli = 0; milli <= MILLI; milli++) {
        if (milli < MILLI && used[milli])
            f->steps[f->steps_n++] = (uint16_t)milli;
        f->step_of[milli] = (uint16_t)f->steps_n;
    }
}

/* How many CPU thresholds the amount reaches. */
static uint32_t row_of(const struct fgd *f, int64_t cpu)
{
    uint32_t low = 0, high = f->cpus_n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (f->cpus[mid] <= cpu)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool allows(const struct kb_policy_demand *d, uint32_t model)
{
    for (uint32_t i = 0; i < d->gpu_models_n; i++)
        if (d->gpu_models[i] == model)
            return true;
    return d->gpu_models_n == 0;
}

static void sum_up(int64_t *table, uint32_t rows, uint32_t columns)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 1; i < columns; i++)
            table[r * columns + i] += table[r * columns + i - 1];
    for (uint32_t r = 1; r < rows; r++)
        for (uint32_t i = 0; i < columns; i++)
            table[r * columns + i] += table[(r - 1) * columns + i];
}

static void fill_model(const struct fgd *f, struct model *m)
{
    uint32_t rows = f->cpus_n + 1, columns = f->steps_n + 1;
    m->share = calloc((size_t)rows * columns, sizeof(*m->share));
    m->whole = calloc((size_t)rows * WHOLE_N, sizeof(*m->whole));
    if (m->share == NULL || m->whole == NULL)
        abort();
    for (uint32_t i = 0; i < f->typical_n - f->odd_n; i++) {
        const struct kb_policy_demand *d = &f->typical[i];
        uint32_t row = row_of(f, d->cpu);
        if (d->gpus == 0 || !allows(d, m->id))
            continue;
        if (d->gpu_milli < MILLI)
            m->share[row * columns + f->step_of[d->gpu_milli]] += (int64_t)d->pods;
        else if (d->gpus < WHOLE_N)
            m->whole[row * WHOLE_N + d->gpus] += (int64_t)d->pods;
    }
    sum_up(m->share, rows, columns);
    sum_up(m->whole, rows, WHOLE_N);
}

static void drop_models(struct fgd *f)
{
    for (uint32_t i = 0; i < f->models_n; i++) {
        free(f->models[i].share);
        free(f->models[i].whole);
    }
    free(f->models);
    f->models = NULL;
    f->models_n = 0;
    free(f->slots);
    f->slots = NULL;
    f->slots_n = 0;
}

static const struct model *model_of(struct fgd *f, uint32_t id)
{
    for (uint32_t i = 0; i < f->models_n; i++)
        if (f->models[i].id == id)
            return &f->models[i];
    struct model *grown = realloc(f->models, (f->models_n + 1) * sizeof(*grown));
    if (grown == NULL)
        abort();
    f->models = grown;
    struct model *m = &f->models[f->models_n++];
    *m = (struct model){.id = id};
    fill_model(f, m);
    return m;
}

static void refresh(struct fgd *f)
{
    const struct kb_policy_workload *w = f->host->workload(f->host->core);
    if (w->version == f->version)
        return;
    drop_models(f);
    free(f->typical);
    free(f->cpus);
    f->typical = calloc(w->n + 1, sizeof(*f->typical));
    f->cpus = calloc(w->n + 1, sizeof(*f->cpus));
    if (f->typical == NULL || f->cpus == NULL)
        abort();
    f->version = w->version;
    choose_typical(f, w);
    find_thresholds(f);
}

/* ---- fragmentation ---- */

struct node {
    const struct model *model;
    int64_t cpu;
    uint16_t left[KB_POLICY_GPUS];
};

static int64_t usable_of_odd(const struct fgd *f, const struct node *n)
{
    int64_t sum = 0;
    for (uint32_t i = f->typical_n - f->odd_n; i < f->typical_n; i++) {
        const struct kb_policy_demand *d = &f->typical[i];
        uint32_t able = 0;
        int64_t usable = 0;
        for (uint32_t g = 0; g < KB_POLICY_GPUS; g++) {
            able += n->left[g] >= d->gpu_milli;
            usable += n->left[g] >= d->gpu_milli ? n->left[g] : 0;
        }
        if (able >= d->gpus && d->cpu <= n->cpu && allows(d, n->model->id))
            sum += (int64_t)d->pods * usable;
    }
    return sum;
}

/* What a GPU with `left` free adds to F, in milli-GPU times pods: without W. */
static int64_t of_gpu(const struct fgd *f, const int64_t *shares, uint32_t left)
{
    return (int64_t)left * (f->pods - shares[f->step_of[left]]);
}

/* F of a node, in milli-GPU times pods. */
static int64_t fragmentation(const struct fgd *f, const struct node *n)
{
    uint32_t row = row_of(f, n->cpu), whole = 0;
    const int64_t *shares = n->model->share + (size_t)row * (f->steps_n + 1);
    int64_t sum = 0;
    for (uint32_t g = 0; g < KB_POLICY_GPUS; g++) {
        sum += of_gpu(f, shares, n->left[g]);
        whole += n->left[g] == MILLI;
    }
    sum -= (int64_t)MILLI * whole * n->model->whole[row * WHOLE_N + whole];
    return f->odd_n ? sum - usable_of_odd(f, n) : sum;
}

static struct remembered *slot_at(struct fgd *f, uint32_t slot)
{
    if (slot < f->slots_n)
        return &f->slots[slot];
    uint32_t n = (slot + 1) * 2;
    struct remembered *grown = realloc(f->slots, n * sizeof(*grown));
    if (grown == NULL)
        abort();
    memset(grown + f->slots_n, 0, (n - f->slots_n) * sizeof(*grown));
    f->slots = grown;
    f->slots_n = n;
    return &f->slots[slot];
}

static int64_t fragmentation_at(struct fgd *f, uint32_t slot, const struct node *n)
{
    struct remembered *r = slot_at(f, slot);
    if (r->known && r->model == n->model->id && r->cpu == n->cpu &&
        memcmp(r->left, n->left, sizeof(r->left)) == 0)
        return r->sum;
    *r = (struct remembered){true, n->model->id, n->cpu, fragmentation(f, n), {0}};
    memcpy(r->left, n->left, sizeof(r->left));
    return r->sum;
}

/* F after a share went to GPU g, from the sums without it: see `best_share`. */
struct after {
    const int64_t *shares, *wholes;
    int64_t sum;
    uint32_t whole;
};

static int64_t with_share(const struct fgd *f, const struct after *a, struct node *n, uint32_t g,
                          uint32_t milli)
{
    uint16_t left = n->left[g];
    uint32_t whole = a->whole - (left == MILLI);
    int64_t sum = a->sum - of_gpu(f, a->shares, left) + of_gpu(f, a->shares, left - milli) -
                  (int64_t)MILLI * whole * a->wholes[whole];
    if (f->odd_n == 0)
        return sum;
    n->left[g] = (uint16_t)(left - milli);
    sum -= usable_of_odd(f, n);
    n->left[g] = left;
    return sum;
}

/* The least F after a share of the pod's size went to one of the GPUs; ret_gpu is the first with
 * it.
 */
static int64_t best_share(const struct fgd *f, struct node *n, uint32_t milli, uint32_t *ret_gpu)
{
    uint32_t row = row_of(f, n->cpu);
    struct after a = {.shares = n->model->share + (size_t)row * (f->steps_n + 1),
                      .wholes = n->model->whole + row * WHOLE_N};
    int64_t least = INT64_MAX;
    for (uint32_t g = 0; g < KB_POLICY_GPUS; g++) {
        a.sum += of_gpu(f, a.shares, n->left[g]);
        a.whole += n->left[g] == MILLI;
    }
    for (uint32_t g = 0; g < KB_POLICY_GPUS; g++) {
        if (n->left[g] < milli)
            continue;
        int64_t sum = with_share(f, &a, n, g, milli);
        if (sum < least) {
            least = sum;
            *ret_gpu = g;
        }
    }
    return least;
}

/* Take the fullest GPUs that have enough. False: there are not that many. */
static bool take(struct node *n, uint32_t gpus, uint32_t milli)
{
    uint32_t taken = 0;
    for (; gpus > 0; gpus--) {
        uint32_t best = KB_POLICY_GPUS;
        for (uint32_t g = 0; g < KB_POLICY_GPUS; g++)
            if (!(taken & (1u << g)) && n->left[g] >= milli &&
                (best == KB_POLICY_GPUS || n->left[g] < n->left[best]))
                best = g;
        if (best == KB_POLICY_GPUS)
            return false;
        taken |= 1u << best;
        n->left[best] = (uint16_t)(n->left[best] - milli);
    }
    return true;
}

/* F after the pod came, or INT64_MAX when its GPUs are not free. */
static int64_t after(const struct fgd *f, const struct kb_policy_pod *pod, struct node *n,
                     int64_t cpu, uint32_t *ret_gpu)
{
    n->cpu -= cpu;
    if (pod->gpus == 1 && pod->gpu_milli < MILLI)
        return best_share(f, n, pod->gpu_milli, ret_gpu);
    return take(n, pod->gpus, pod->gpu_milli) ? fragmentation(f, n) : INT64_MAX;
}

/* ---- the policy ---- */

static int configure(const struct kb_policy_host *host, const char *args, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct fgd *f = calloc(1, sizeof(*f));
    (void)error, (void)error_bytes;
    if (f == NULL)
        return -1;
    f->host = host;
    f->popularity = kb_policy_number(args, "popularity", 95);
    *ret_instance = f;
    host->workload(host->core); /* from now on pods are counted */
    return 0;
}

static void unload(void *instance)
{
    struct fgd *f = instance;
    drop_models(f);
    free(f->typical);
    free(f->cpus);
    free(f);
}

static struct node node_at(struct fgd *f, const struct kb_policy_nodes *nodes, uint32_t i)
{
    struct node n = {model_of(f, nodes->devices->model[i]),
                     nodes->allocatable[KB_POLICY_CPU][i] - nodes->requested[KB_POLICY_CPU][i],
                     {0}};
    memcpy(n.left, nodes->devices->gpus[i].free, sizeof(n.left));
    return n;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    struct fgd *f = c->instance;
    int64_t cpu = kb_policy_requested(c->pod, KB_POLICY_CPU);
    refresh(f);
    for (uint32_t i = from; i < to; i++) {
        struct node n = node_at(f, c->nodes, i);
        uint32_t gpu = 0;
        int64_t before = fragmentation_at(f, i, &n), then = after(f, c->pod, &n, cpu, &gpu);
        double gain = f->pods > 0 ? (double)(before - then) / ((double)MILLI * (double)f->pods) : 0;
        score_out[i - from] =
            then == INT64_MAX ? 0 : (int64_t)(KB_POLICY_SCORE_MAX / (1 + exp(-gain)));
    }
}

static uint32_t assign(struct kb_policy_cycle *c, uint32_t node)
{
    struct fgd *f = c->instance;
    if (c->pod->gpus != 1 || c->pod->gpu_milli >= MILLI)
        return 0;
    refresh(f);
    struct node n = node_at(f, c->nodes, node);
    uint32_t gpu = KB_POLICY_GPUS;
    after(f, c->pod, &n, kb_policy_requested(c->pod, KB_POLICY_CPU), &gpu);
    return gpu < KB_POLICY_GPUS ? 1u << gpu : 0;
}

KB_POLICY(FGD, .weight = 1, .configure = configure, .unload = unload, .score = score,
          .assign = assign);
