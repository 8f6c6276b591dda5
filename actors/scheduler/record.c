#include "actors/scheduler/record.h"

#include "actors/scheduler/config.h"
#include "actors/scheduler/core/devices.h"
#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/model/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITE_BYTES = 1 << 16 };

struct kb_record {
    struct kb_sched *sched;
    int fd; /* -1: no more */
    struct kb_buf buf;
    kb_ms now;
    int64_t wall_us;
    bool time_told; /* and not written yet: most of it is followed by more of it */
};

const char *const kb_record_ops[] = {
    [KB_SCHED_IN_TIME] = "time",
    [KB_SCHED_IN_NODE_PUT] = "node-put",
    [KB_SCHED_IN_NODE_DEL] = "node-del",
    [KB_SCHED_IN_POD_PUT] = "pod-put",
    [KB_SCHED_IN_POD_DEL] = "pod-del",
    [KB_SCHED_IN_OBJECT_PUT] = "object-put",
    [KB_SCHED_IN_DECIDE] = "decide",
    [KB_SCHED_IN_BIND_DONE] = "bind-done",
    [KB_SCHED_IN_CONDITION_DONE] = "condition-done",
    [KB_SCHED_IN_EVICT_DONE] = "evict-done",
    [KB_SCHED_IN_CONFIGURE] = "configure",
    [KB_SCHED_IN_SHARE] = "share",
    [KB_SCHED_IN_ASK] = "ask",
    [KB_SCHED_IN_ANSWER] = "answer",
};

/* ---- writing ---- */

static void flush(struct kb_record *r)
{
    size_t at = 0;
    while (r->fd >= 0 && at < r->buf.n) {
        ssize_t n = write(r->fd, r->buf.p + at, r->buf.n - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            kb_warn("the record ends: %s", strerror(errno));
            close(r->fd);
            r->fd = -1;
            break;
        }
        at += (size_t)n;
    }
    kb_buf_clear(&r->buf);
}

static void put_text(struct kb_buf *b, const char *key, kb_str text)
{
    kb_buf_printf(b, ",\"%s\":", key);
    kb_json_write_str(b, text);
}

/* ---- wishes ---- */

bool kb_record_wish(struct kb_buf *b, const struct kb_sched_wish *w)
{
    static const char *const kinds[] = {
        [KB_SCHED_BIND] = "bind", [KB_SCHED_CONDITION] = "condition", [KB_SCHED_EVICT] = "evict"};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    if (w->kind == KB_SCHED_EVENT)
        return false;
    kb_val doc = kb_doc_root(w->doc);
    kb_json_write(&text, doc, 0);
    kb_buf_printf(b, "{\"kind\":\"%s\"", kinds[w->kind]);
    put_text(b, "key", kb_str_of(w->key));
    if (w->kind == KB_SCHED_BIND) {
        char gpus[KB_GPU_INDEX_BYTES];
        put_text(b, "node", kb_val_str_at(doc, "spec.nodeName"));
        kb_gpu_format(kb_gpu_index_of(doc), gpus);
        put_text(b, "gpus", kb_str_of(gpus));
        kb_buf_printf(b, ",\"attempt\":%" PRIu64, w->attempt);
    }
    kb_buf_printf(b, ",\"rev\":%" PRId64 ",\"hash\":\"%016" PRIx64 "\"}", w->rev,
                  kb_hash64(text.p, text.n));
    return true;
}

static void put_wishes(struct kb_buf *b, const struct kb_sched_input *in)
{
    bool first = true;
    kb_buf_puts(b, ",\"wishes\":[");
    for (size_t i = in->from; i < in->out->n; i++) {
        size_t before = b->n;
        if (!first)
            kb_buf_putc(b, ',');
        if (kb_record_wish(b, &in->out->wishes[i])) {
            first = false;
        } else {
            b->n = before;
            b->p[b->n] = '\0';
        }
    }
    kb_buf_putc(b, ']');
}

/* ---- configuration ---- */

static void put_entry(struct kb_buf *b, const struct kb_profile_entry *e)
{
    kb_buf_puts(b, "{\"policy\":");
    kb_json_write_str(b, kb_str_of(e->policy->name));
    kb_buf_printf(b, ",\"weight\":%d,\"without\":%u", e->weight, e->without);
    if (e->args)
        put_text(b, "args", kb_str_of(e->args));
    if (e->version)
        put_text(b, "version", kb_str_of(e->version));
    if (e->held)
        put_text(b, "held", kb_str_of(e->held));
    kb_buf_putc(b, '}');
}

static void put_config(struct kb_buf *b, const struct kb_config *config)
{
    kb_buf_printf(b, ",\"backoff\":%" PRId64 ",\"backoffMax\":%" PRId64 ",\"profiles\":[",
                  config->backoff_ms, config->backoff_max_ms);
    for (size_t i = 0; i < config->profiles_n; i++) {
        const struct kb_config_profile *p = &config->profiles[i];
        kb_buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        kb_json_write_str(b, kb_str_of(p->name));
        kb_buf_puts(b, ",\"policies\":[");
        for (size_t k = 0; k < p->n; k++) {
            if (k)
                kb_buf_putc(b, ',');
            put_entry(b, &p->entries[k]);
        }
        kb_buf_puts(b, "]}");
    }
    kb_buf_putc(b, ']');
}

/* ---- lines ---- */

static void put_time(struct kb_record *r)
{
    if (r->time_told)
        kb_buf_printf(&r->buf, "{\"op\":\"time\",\"now\":%" PRId64 ",\"wall\":%" PRId64 "}\n",
                      r->now, r->wall_us);
    r->time_told = false;
}

static void put_members(struct kb_buf *b, const struct kb_sched_input *in)
{
    if (in->key.n > 0)
        put_text(b, "key", in->key);
    if (in->kind == KB_SCHED_IN_POD_PUT || in->kind == KB_SCHED_IN_BIND_DONE)
        kb_buf_printf(b, ",\"rev\":%" PRId64, in->rev);
    if (in->kind == KB_SCHED_IN_BIND_DONE || in->kind == KB_SCHED_IN_SHARE ||
        in->kind == KB_SCHED_IN_ANSWER)
        kb_buf_printf(b, ",\"attempt\":%" PRIu64, in->attempt);
    if ((in->kind >= KB_SCHED_IN_BIND_DONE && in->kind <= KB_SCHED_IN_EVICT_DONE) ||
        in->why != NULL)
        kb_buf_printf(b, ",\"rc\":%d", in->rc);
    if (in->why != NULL)
        put_text(b, "why", kb_str_of(in->why));
    if (in->kind == KB_SCHED_IN_DECIDE || in->kind == KB_SCHED_IN_SHARE)
        kb_buf_printf(b, ",\"most\":%" PRIu64, in->most);
    if (in->doc.p != NULL) {
        kb_buf_puts(b, ",\"doc\":");
        kb_json_write(b, in->doc, 0);
    }
    if (in->config != NULL)
        put_config(b, in->config);
    if (in->out != NULL)
        put_wishes(b, in);
}

static void told(void *user, const struct kb_sched_input *in)
{
    struct kb_record *r = user;
    if (r->fd < 0)
        return;
    if (in->kind == KB_SCHED_IN_TIME) {
        r->time_told |= in->now != r->now || in->wall_us != r->wall_us;
        r->now = in->now;
        r->wall_us = in->wall_us;
        return;
    }
    put_time(r);
    kb_buf_printf(&r->buf, "{\"op\":\"%s\"", kb_record_ops[in->kind]);
    put_members(&r->buf, in);
    kb_buf_puts(&r->buf, "}\n");
    if (in->kind == KB_SCHED_IN_DECIDE || r->buf.n >= WRITE_BYTES)
        flush(r);
}

int kb_record_open(struct kb_sched *s, uint64_t seed, const char *path, struct kb_record **ret,
                   struct kb_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return kb_err_sys(err, errno, "%s", path);
    struct kb_record *r = calloc(1, sizeof(*r));
    KB_ASSERT(r != NULL);
    r->sched = s;
    r->fd = fd;
    /* The seed as text: not every reader of JSON keeps 64 bits. */
    kb_buf_printf(&r->buf, "{\"op\":\"begin\",\"version\":1,\"seed\":\"%" PRIu64 "\"}\n", seed);
    kb_sched_tap(s, told, r);
    *ret = r;
    return 0;
}

void kb_record_close(struct kb_record **r_p)
{
    struct kb_record *r = *r_p;
    if (r == NULL)
        return;
    kb_sched_tap(r->sched, NULL, NULL);
    flush(r);
    if (r->fd >= 0)
        close(r->fd);
    kb_buf_finish(&r->buf);
    free(r);
    *r_p = NULL;
}
