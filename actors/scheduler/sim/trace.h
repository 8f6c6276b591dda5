/* What a simulation is about: nodes, and pods with the time at which they come and how long they
 * run. Read from
 *
 *   FILE.csv          the columns of the openb trace (Weng et al., ATC 2023), in any order
 *   FILE.yaml, .json  Kubernetes objects: Node, Pod, List, and what has a pod template
 *   FILE.jsonl        one thing a line: an object with times, a deletion, a failure of a node
 *
 * docs/simulate.md describes them. Everything a file says is bounded; a mistake in it is an error
 * that names file and line. */
#ifndef KUBUS_SCHEDULER_SIM_TRACE_H
#define KUBUS_SCHEDULER_SIM_TRACE_H

#include "bus/base/clock.h"
#include "bus/base/err.h"
#include "bus/model/doc.h"

#define KB_TRACE_ARRIVE "sim.kubus.dev/arrive-seconds" /* annotations of pods in YAML */
#define KB_TRACE_RUN    "sim.kubus.dev/run-seconds"

enum { KB_TRACE_MAX = 4000000 }; /* nodes, or pods */
#define KB_TRACE_MAX_BYTES   (UINT64_C(1) << 30)
#define KB_TRACE_MAX_SECONDS 1e11 /* some 3,000 years */

struct kb_trace_node {
    char *name;
    struct kb_doc *doc;
};

struct kb_trace_pod {
    char *key; /* pods/NAMESPACE/NAME */
    struct kb_doc *doc;
    kb_ms arrive_ms;
    kb_ms run_ms; /* from the moment when it is bound; -1: for ever */
};

/* A pod is deleted (key), or a node fails (node) for a time; -1: for ever. */
struct kb_trace_fault {
    char *key, *node;
    kb_ms at_ms, for_ms;
};

/* What else placement depends on (kb_sched_resources): there from the start. */
struct kb_trace_object {
    char *key;
    struct kb_doc *doc;
};

/* Zero-initialized is empty and valid. */
struct kb_trace {
    struct kb_trace_object *objects;
    size_t objects_n, objects_cap;
    struct kb_trace_node *nodes;
    size_t nodes_n, nodes_cap;
    struct kb_trace_pod *pods;
    size_t pods_n, pods_cap;
    struct kb_trace_fault *faults;
    size_t faults_n, faults_cap;
    bool timed; /* the pods have times of their own; else they come a second apart */
};
void kb_trace_finish(struct kb_trace *trace);

enum kb_trace_format { KB_TRACE_CSV, KB_TRACE_YAML, KB_TRACE_JSONL };
enum kb_trace_want { KB_TRACE_NODES = 1, KB_TRACE_PODS = 2, KB_TRACE_BOTH = 3 };

/* Add what a file says; of what is not wanted, objects are passed over, and a CSV file is an error.
 * -KB_EINVAL "FILE:LINE: …", -KB_E2BIG, -KB_ENOTFOUND, -KB_EIO; what was added before stays. */
int kb_trace_read(struct kb_trace *trace, const char *path, unsigned want, struct kb_err *err);
/* The same from a text; `name` stands for the file in errors. */
int kb_trace_parse(struct kb_trace *trace, enum kb_trace_format format, kb_str text,
                   const char *name, unsigned want, struct kb_err *err);
/* "NODE@SECONDS" or "NODE@SECONDS+SECONDS" as a failure. -KB_EINVAL. */
int kb_trace_parse_fault(struct kb_trace *trace, const char *text, struct kb_err *err);

/* When all files are read: nodes that stand there twice, and failures and deletions of what is not
 * there, are a mistake; of pods of one name, the later ones get a number behind it. -KB_EINVAL. */
int kb_trace_check(struct kb_trace *trace, struct kb_err *err);

/* Add one; all are copied, the document is referenced. run_ms -1: for ever. */
void kb_trace_add_node(struct kb_trace *trace, kb_str name, const struct kb_doc *doc);
void kb_trace_add_pod(struct kb_trace *trace, kb_str key, const struct kb_doc *doc, kb_ms arrive_ms,
                      kb_ms run_ms);
void kb_trace_add_object(struct kb_trace *trace, kb_str key, const struct kb_doc *doc);
void kb_trace_add_fault(struct kb_trace *trace, kb_str key, kb_str node, kb_ms at_ms, kb_ms for_ms);

/* For the readers. */
int kb__trace_csv(struct kb_trace *trace, kb_str text, const char *name, unsigned want,
                  struct kb_err *err);
int kb__trace_yaml(struct kb_trace *trace, kb_str text, const char *name, unsigned want,
                   struct kb_err *err);
int kb__trace_jsonl(struct kb_trace *trace, kb_str text, const char *name, unsigned want,
                    struct kb_err *err);
/* A number of seconds in text as milliseconds; false: not one, or out of bounds. */
bool kb__trace_seconds(kb_str text, kb_ms *ret);
bool kb__trace_number(kb_str text, double *ret);
/* Fit to be a part of a key. */
bool kb__trace_name(kb_str name);

#endif
