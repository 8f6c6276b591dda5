/* trace_csv.c - the columns of the openb trace, found by their names in the first line, in any
 * order and with others between them:
 *
 *   nodes  sn cpu_milli memory_mib [gpu] [model]
 *   pods   name cpu_milli memory_mib [num_gpu gpu_milli] [gpu_spec]
 *          [creation_time deletion_time scheduled_time]
 *
 * Which of the two a file is, its columns say: `sn` is a node's. A pod runs from scheduled_time (or
 * creation_time) to deletion_time, in seconds; a file without times lists pods in the order in
 * which they come. Fields may be quoted as in RFC 4180, but not span lines. */
#include "actors/scheduler/core/devices.h"
#include "actors/scheduler/sim/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS_MAX = 64, LINE_MAX_BYTES = 1 << 16, PODS_ON_A_NODE = 100000 };

enum field {
    NAME,
    CPU,
    MEMORY,
    GPUS,
    GPU_MILLI,
    MODEL,
    CREATED,
    DELETED,
    SCHEDULED,
    FIELDS,
};

static const struct {
    const char *name;
    enum field field;
    bool of_node, of_pod;
} known[] = {
    {"sn", NAME, true, false},
    {"name", NAME, false, true},
    {"cpu_milli", CPU, true, true},
    {"memory_mib", MEMORY, true, true},
    {"gpu", GPUS, true, false},
    {"model", MODEL, true, false},
    {"num_gpu", GPUS, false, true},
    {"gpu_milli", GPU_MILLI, false, true},
    {"gpu_spec", MODEL, false, true},
    {"creation_time", CREATED, false, true},
    {"deletion_time", DELETED, false, true},
    {"scheduled_time", SCHEDULED, false, true},
};

struct reader {
    struct kb_trace *trace;
    const char *name;
    size_t line;
    bool nodes;
    int column[FIELDS]; /* -1: there is none */
    kb_str row[COLUMNS_MAX];
    size_t row_n;
    char text[LINE_MAX_BYTES]; /* of quoted fields */
    struct kb_err *err;
};

static int wrong(struct reader *r, const char *what, kb_str value)
{
    return kb_err_set(r->err, KB_EINVAL, "%s:%zu: %s '%.*s'", r->name, r->line, what,
                      value.n < 40 ? (int)value.n : 40, value.p ? value.p : "");
}

/* A field that begins with a quote: its text goes to *at. False: the quote is not closed. */
static bool unquote(kb_str *rest, char **at, kb_str *ret)
{
    char *from = *at;
    size_t i = 1;
    for (;; i++) {
        if (i >= rest->n)
            return false;
        if (rest->p[i] == '"' && (i + 1 >= rest->n || rest->p[i + 1] != '"'))
            break;
        i += rest->p[i] == '"';
        *(*at)++ = rest->p[i];
    }
    *ret = kb_str_n(from, (size_t)(*at - from));
    kb_str behind = kb_str_n(rest->p + i + 1, rest->n - i - 1);
    bool clean = kb_str_trim(kb_str_cut(&behind, ',')).n == 0;
    *rest = behind;
    return clean;
}

static int split(struct reader *r, kb_str line)
{
    char *at = r->text;
    r->row_n = 0;
    if (line.n >= LINE_MAX_BYTES)
        return kb_err_set(r->err, KB_E2BIG, "%s:%zu: the line is longer than %d bytes", r->name,
                          r->line, LINE_MAX_BYTES);
    while (line.p) {
        if (r->row_n == COLUMNS_MAX)
            return wrong(r, "too many columns, from", line);
        kb_str *field = &r->row[r->row_n++];
        if (line.n > 0 && line.p[0] == '"') {
            if (!unquote(&line, &at, field))
                return wrong(r, "a quote is not closed, or something stands behind it:", line);
        } else {
            *field = kb_str_trim(kb_str_cut(&line, ','));
        }
    }
    return 0;
}

static int header(struct reader *r)
{
    for (size_t f = 0; f < FIELDS; f++)
        r->column[f] = -1;
    for (size_t i = 0; i < r->row_n; i++)
        r->nodes |= kb_str_is(r->row[i], "sn");
    for (size_t i = 0; i < r->row_n; i++)
        for (size_t k = 0; k < KB_COUNT(known); k++)
            if (kb_str_is(r->row[i], known[k].name) &&
                (r->nodes ? known[k].of_node : known[k].of_pod))
                r->column[known[k].field] = (int)i;
    for (size_t f = NAME; f <= MEMORY; f++)
        if (r->column[f] < 0)
            return kb_err_set(r->err, KB_EINVAL, "%s:%zu: the first line names no column %s",
                              r->name, r->line,
                              f == NAME  ? "'sn' (of nodes) or 'name' (of pods)"
                              : f == CPU ? "'cpu_milli'"
                                         : "'memory_mib'");
    return 0;
}

static kb_str field(const struct reader *r, enum field f)
{
    return r->column[f] >= 0 && (size_t)r->column[f] < r->row_n ? r->row[r->column[f]]
                                                                : (kb_str){0};
}

/* An amount, rounded up; an empty field is 0 where there need be none. */
static int amount(struct reader *r, enum field f, double most, int64_t *ret)
{
    kb_str text = field(r, f);
    double d = 0;
    bool needed = f == CPU || f == MEMORY;
    if ((needed || text.n > 0) && (!kb__trace_number(text, &d) || d < 0 || d > most))
        return wrong(r, "not an amount:", text);
    *ret = (int64_t)ceil(d);
    return 0;
}

static void write_amount(struct kb_w *w, const char *key, int64_t amount_of, const char *suffix)
{
    char text[48];
    snprintf(text, sizeof(text), "%lld%s", (long long)amount_of, suffix);
    kb_w_kcstr(w, key, text);
}

static void write_node(struct kb_w *w, kb_str name, const int64_t *have, kb_str model)
{
    kb_w_map(w);
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "Node");
    kb_w_kmap(w, "metadata");
    kb_w_kstr(w, "name", name);
    kb_w_kmap(w, "labels");
    kb_w_kstr(w, "kubernetes.io/hostname", name);
    if (model.n > 0)
        kb_w_kstr(w, KB_GPU_MODEL, model);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kmap(w, "status");
    kb_w_kmap(w, "allocatable");
    write_amount(w, "cpu", have[CPU], "m");
    write_amount(w, "memory", have[MEMORY], "Mi");
    write_amount(w, "pods", PODS_ON_A_NODE, "");
    if (have[GPUS] > 0)
        write_amount(w, KB_GPU_COUNT, have[GPUS], "");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
}

static int node_row(struct reader *r)
{
    int64_t have[FIELDS] = {0};
    struct kb_w w = {0};
    if (amount(r, CPU, 1e12, &have[CPU]) < 0 || amount(r, MEMORY, 1e9, &have[MEMORY]) < 0 ||
        amount(r, GPUS, KB_POLICY_GPUS, &have[GPUS]) < 0)
        return -KB_EINVAL;
    write_node(&w, field(r, NAME), have, field(r, MODEL));
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    kb_trace_add_node(r->trace, field(r, NAME), doc);
    return 0;
}

static void write_annotations(struct kb_w *w, const int64_t *want, kb_str models)
{
    kb_w_kmap(w, "annotations");
    write_amount(w, KB_GPU_COUNT, want[GPUS], "");
    write_amount(w, KB_GPU_MILLI, want[GPU_MILLI], "");
    if (models.n > 0)
        kb_w_kstr(w, KB_GPU_MODEL, models);
    kb_w_end(w);
}

static void write_pod(struct kb_w *w, kb_str name, const int64_t *want, kb_str models)
{
    kb_w_map(w);
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "Pod");
    kb_w_kmap(w, "metadata");
    kb_w_kstr(w, "name", name);
    kb_w_kcstr(w, "namespace", "default");
    if (want[GPUS] > 0)
        write_annotations(w, want, models);
    kb_w_end(w);
    kb_w_kmap(w, "spec");
    kb_w_karray(w, "containers");
    kb_w_map(w);
    kb_w_kcstr(w, "name", "main");
    kb_w_kmap(w, "resources");
    kb_w_kmap(w, "requests");
    write_amount(w, "cpu", want[CPU], "m");
    write_amount(w, "memory", want[MEMORY], "Mi");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
}

/* When it comes, and how long it runs. */
static int times(struct reader *r, kb_ms *ret_arrive, kb_ms *ret_run)
{
    kb_ms at[FIELDS] = {0};
    *ret_arrive = (kb_ms)r->trace->pods_n * 1000;
    *ret_run = -1;
    for (int f = CREATED; f <= SCHEDULED; f++)
        if (field(r, f).n > 0 && !kb__trace_seconds(field(r, f), &at[f]))
            return wrong(r, "not a number of seconds:", field(r, f));
    if (field(r, CREATED).n == 0)
        return 0;
    r->trace->timed = true;
    *ret_arrive = at[CREATED];
    kb_ms from =
        field(r, SCHEDULED).n > 0 && at[SCHEDULED] >= at[CREATED] ? at[SCHEDULED] : at[CREATED];
    if (field(r, DELETED).n > 0)
        *ret_run = at[DELETED] > from ? at[DELETED] - from : 0;
    return 0;
}

static int pod_row(struct reader *r)
{
    int64_t want[FIELDS] = {0};
    kb_ms arrive, run;
    struct kb_w w = {0};
    if (amount(r, CPU, 1e12, &want[CPU]) < 0 || amount(r, MEMORY, 1e9, &want[MEMORY]) < 0 ||
        amount(r, GPUS, 1000, &want[GPUS]) < 0 || amount(r, GPU_MILLI, 1e6, &want[GPU_MILLI]) < 0 ||
        times(r, &arrive, &run) < 0)
        return -KB_EINVAL;
    if (want[GPUS] != 1 || want[GPU_MILLI] == 0 || want[GPU_MILLI] > KB_POLICY_GPU_MILLI)
        want[GPU_MILLI] = KB_POLICY_GPU_MILLI; /* it counts for one GPU only */
    write_pod(&w, field(r, NAME), want, field(r, MODEL));
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    KB_AUTO(kb_auto_free)
    char *key = kb_strf("pods/default/" KB_STR_FMT, KB_STR_ARG(field(r, NAME)));
    kb_trace_add_pod(r->trace, kb_str_of(key), doc, arrive, run);
    return 0;
}

static int data_row(struct reader *r)
{
    kb_str name = field(r, NAME);
    if (!kb__trace_name(name) || !kb_str_is_utf8(field(r, MODEL)))
        return wrong(r, "not a name:", name);
    if (r->nodes ? r->trace->nodes_n >= KB_TRACE_MAX : r->trace->pods_n >= KB_TRACE_MAX)
        return kb_err_set(r->err, KB_E2BIG, "%s:%zu: more than %d rows", r->name, r->line,
                          KB_TRACE_MAX);
    return r->nodes ? node_row(r) : pod_row(r);
}

static int read_rows(struct reader *r, kb_str text, unsigned want)
{
    bool have_header = false;
    while (text.p) {
        kb_str line = kb_str_cut(&text, '\n');
        r->line++;
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (r->line == 1 && kb_str_starts(line, "\xef\xbb\xbf"))
            line = kb_str_n(line.p + 3, line.n - 3);
        if (kb_str_trim(line).n == 0)
            continue;
        int rc = split(r, line);
        if (rc == 0 && have_header)
            rc = data_row(r);
        else if (rc == 0)
            rc = header(r);
        if (rc == 0 && !have_header && !(want & (r->nodes ? KB_TRACE_NODES : KB_TRACE_PODS)))
            rc = kb_err_set(r->err, KB_EINVAL, "%s: a list of %s, where %s are wanted", r->name,
                            r->nodes ? "nodes" : "pods", r->nodes ? "pods" : "nodes");
        have_header = true;
        if (rc < 0)
            return rc;
    }
    return have_header ? 0 : kb_err_set(r->err, KB_EINVAL, "%s: empty", r->name);
}

int kb__trace_csv(struct kb_trace *trace, kb_str text, const char *name, unsigned want,
                  struct kb_err *err)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return kb_err_set(err, KB_EINTERNAL, "no memory");
    r->trace = trace;
    r->name = name;
    r->err = err;
    int rc = read_rows(r, text, want);
    free(r);
    return rc;
}
