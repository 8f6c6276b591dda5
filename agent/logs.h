/* Reading a container's log back: from the shim's files in CRI format, rotated ones included, to
 * what `kubectl logs` shows; following by inotify. */
#ifndef KUBUS_AGENT_LOGS_H
#define KUBUS_AGENT_LOGS_H

#include "agent/ev.h"
#include "bus/base/buf.h"
#include "bus/base/err.h"

struct kb_log_reader;

struct kb_log_options {
    bool follow, timestamps;
    int64_t tail;        /* -1: all */
    int64_t since_us;    /* 0: from the beginning */
    int64_t limit_bytes; /* 0: no limit */
};

struct kb_log_handlers {
    /* Some output. False: not taken (it is offered again after kb_log_resume()). */
    bool (*bytes)(void *arg, kb_str bytes);
    void (*end)(void *arg); /* nothing follows */
};

/* Read the log at `path` (rotated: path.1, path.2 …). A file that is not there (yet) is empty.
 * `live`: the container still writes. Never NULL; callbacks come from the loop. */
struct kb_log_reader *kb_log_open(struct kb_ev *ev, const char *path,
                                  const struct kb_log_options *options, bool live,
                                  const struct kb_log_handlers *handlers, void *arg);
void kb_log_resume(struct kb_log_reader *reader);
/* The container has ended: a follower ends where the file does. */
void kb_log_over(struct kb_log_reader *reader);
void kb_log_destroy(struct kb_log_reader **reader_p);

#endif
