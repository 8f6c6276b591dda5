#include "actors/scheduler/sim/trace.h"

#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/grow.h"
#include "bus/base/limits.h"
#include "bus/base/map.h"

#include <math.h>
#include <stdlib.h>

void kb_trace_finish(struct kb_trace *t)
{
    for (size_t i = 0; i < t->nodes_n; i++) {
        free(t->nodes[i].name);
        kb_doc_destroy(&t->nodes[i].doc);
    }
    for (size_t i = 0; i < t->pods_n; i++) {
        free(t->pods[i].key);
        kb_doc_destroy(&t->pods[i].doc);
    }
    for (size_t i = 0; i < t->faults_n; i++) {
        free(t->faults[i].key);
        free(t->faults[i].node);
    }
    for (size_t i = 0; i < t->objects_n; i++) {
        free(t->objects[i].key);
        kb_doc_destroy(&t->objects[i].doc);
    }
    free(t->objects);
    free(t->nodes);
    free(t->pods);
    free(t->faults);
    *t = (struct kb_trace){0};
}

void kb_trace_add_node(struct kb_trace *t, kb_str name, const struct kb_doc *doc)
{
    KB_GROW(t->nodes, t->nodes_n, t->nodes_cap, 64);
    t->nodes[t->nodes_n++] = (struct kb_trace_node){kb_str_dup(name), kb_doc_ref(doc)};
}

void kb_trace_add_pod(struct kb_trace *t, kb_str key, const struct kb_doc *doc, kb_ms arrive_ms,
                      kb_ms run_ms)
{
    KB_GROW(t->pods, t->pods_n, t->pods_cap, 64);
    t->pods[t->pods_n++] =
        (struct kb_trace_pod){kb_str_dup(key), kb_doc_ref(doc), arrive_ms, run_ms};
}

void kb_trace_add_object(struct kb_trace *t, kb_str key, const struct kb_doc *doc)
{
    KB_GROW(t->objects, t->objects_n, t->objects_cap, 64);
    t->objects[t->objects_n++] = (struct kb_trace_object){kb_str_dup(key), kb_doc_ref(doc)};
}

void kb_trace_add_fault(struct kb_trace *t, kb_str key, kb_str node, kb_ms at_ms, kb_ms for_ms)
{
    KB_GROW(t->faults, t->faults_n, t->faults_cap, 64);
    t->faults[t->faults_n++] = (struct kb_trace_fault){
        key.n ? kb_str_dup(key) : NULL, node.n ? kb_str_dup(node) : NULL, at_ms, for_ms};
}

bool kb__trace_number(kb_str text, double *ret)
{
    char copy[64], *end;
    text = text.n > 0 ? kb_str_trim(text) : text;
    if (text.n == 0 || !kb_str_copy(text, copy, sizeof(copy)) ||
        strspn(copy, "0123456789+-.eE") != text.n)
        return false;
    double d = strtod(copy, &end);
    if (*end != '\0' || !isfinite(d))
        return false;
    *ret = d;
    return true;
}

bool kb__trace_name(kb_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == '/' || name.p[i] == 0x7f)
            return false;
    return name.n > 0 && name.n <= KB_NAME_MAX_BYTES && kb_str_is_utf8(name);
}

bool kb__trace_seconds(kb_str text, kb_ms *ret)
{
    double d;
    if (!kb__trace_number(text, &d) || d < 0 || d > KB_TRACE_MAX_SECONDS)
        return false;
    *ret = (kb_ms)(d * 1000 + 0.5);
    return true;
}

int kb_trace_parse_fault(struct kb_trace *t, const char *text, struct kb_err *err)
{
    kb_str times = kb_str_of(text), node = kb_str_cut(&times, '@');
    kb_str at = times.p ? kb_str_cut(&times, '+') : (kb_str){0};
    kb_ms at_ms, for_ms = -1;
    if (node.n == 0 || !kb__trace_seconds(at, &at_ms) ||
        (times.p && !kb__trace_seconds(times, &for_ms)))
        return kb_err_set(err, KB_EINVAL,
                          "a failure is NODE@SECONDS or NODE@SECONDS+SECONDS, not "
                          "'%s'",
                          text);
    kb_trace_add_fault(t, (kb_str){0}, node, at_ms, for_ms);
    return 0;
}

/* ---- all together ---- */

/* "p" is taken: "p-2", or the next number that is free. `numbers`: the last one of each name. */
static void rename_pod(struct kb_trace_pod *pod, const struct kb_map *pods, struct kb_map *numbers)
{
    char *key = NULL;
    uintptr_t n = (uintptr_t)kb_map_get(numbers, kb_str_of(pod->key));
    for (n = n ? n + 1 : 2; key == NULL || kb_map_get(pods, kb_str_of(key)) != NULL; n++) {
        free(key);
        key = kb_strf("%s-%zu", pod->key, (size_t)n);
    }
    kb_map_put(numbers, kb_str_of(pod->key), (void *)(n - 1));
    free(pod->key);
    pod->key = key;
}

static int check_names(struct kb_trace *t, struct kb_map *nodes, struct kb_map *pods,
                       struct kb_err *err)
{
    KB_AUTO(kb_map_finish) struct kb_map numbers = {0};
    for (size_t i = 0; i < t->nodes_n; i++)
        if (kb_map_put(nodes, kb_str_of(t->nodes[i].name), &t->nodes[i]) != NULL)
            return kb_err_set(err, KB_EINVAL, "the node '%s' is there twice", t->nodes[i].name);
    for (size_t i = 0; i < t->pods_n; i++) {
        struct kb_trace_pod *pod = &t->pods[i];
        if (kb_map_get(pods, kb_str_of(pod->key)) != NULL)
            rename_pod(pod, pods, &numbers);
        kb_map_put(pods, kb_str_of(pod->key), pod);
    }
    return 0;
}

int kb_trace_check(struct kb_trace *t, struct kb_err *err)
{
    KB_AUTO(kb_map_finish) struct kb_map nodes = {0};
    KB_AUTO(kb_map_finish) struct kb_map pods = {0};
    int rc = check_names(t, &nodes, &pods, err);
    for (size_t i = 0; rc == 0 && i < t->faults_n; i++) {
        const struct kb_trace_fault *fault = &t->faults[i];
        if (fault->node != NULL && kb_map_get(&nodes, kb_str_of(fault->node)) == NULL)
            rc = kb_err_set(err, KB_EINVAL, "there is no node '%s', which is to fail", fault->node);
        else if (fault->key != NULL && kb_map_get(&pods, kb_str_of(fault->key)) == NULL)
            rc = kb_err_set(err, KB_EINVAL, "there is no pod '%s', which is to be deleted",
                            strchr(fault->key, '/') + 1);
    }
    return rc;
}

/* ---- files ---- */

int kb_trace_parse(struct kb_trace *t, enum kb_trace_format format, kb_str text, const char *name,
                   unsigned want, struct kb_err *err)
{
    int rc = format == KB_TRACE_CSV    ? kb__trace_csv(t, text, name, want, err)
             : format == KB_TRACE_YAML ? kb__trace_yaml(t, text, name, want, err)
                                       : kb__trace_jsonl(t, text, name, want, err);
    if (rc == 0 &&
        (t->nodes_n > KB_TRACE_MAX || t->pods_n > KB_TRACE_MAX || t->objects_n > KB_TRACE_MAX))
        rc = kb_err_set(err, KB_E2BIG, "%s: more than %d nodes or pods", name, KB_TRACE_MAX);
    return rc;
}

int kb_trace_read(struct kb_trace *t, const char *path, unsigned want, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_str name = kb_str_of(path);
    bool json = kb_str_ends(name, ".json"); /* which is YAML too */
    enum kb_trace_format format = kb_str_ends(name, ".csv")     ? KB_TRACE_CSV
                                  : kb_str_ends(name, ".jsonl") ? KB_TRACE_JSONL
                                                                : KB_TRACE_YAML;
    if (format == KB_TRACE_YAML && !json && !kb_str_ends(name, ".yaml") &&
        !kb_str_ends(name, ".yml"))
        return kb_err_set(err, KB_EINVAL,
                          "%s: the name must end in .csv, .yaml, .yml, .json or .jsonl", path);
    int rc = kb_file_read(path, KB_TRACE_MAX_BYTES, &text, err);
    return rc < 0 ? rc : kb_trace_parse(t, format, kb_buf_str(&text), path, want, err);
}
