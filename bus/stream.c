/* stream.c - calls of many messages, both ways, with credit.
 *
 * Each side sends only what the other has granted; beyond that a bounded queue, and beyond that the
 * producer is told to wait. So a slow reader of a log stops the agent that reads the file, and
 * nobody's memory grows. Credit goes back in halves of the window, not a message at a time.
 *
 * A server learns of a client that vanished when it next sends; a stream that is silent (a followed
 * log) therefore says "0 more credit" now and then.
 *
 * Each direction:   OPEN --end sent--> ENDED;   the stream is gone when both have, or at an error.
 */
#include "bus/impl.h"

#include "bus/base/limits.h"
#include "bus/base/log.h"

enum { OPEN_TIMEOUT_MS = 30000, ALIVE_MS = 10000 };

struct queued {
    struct kb_link link;
    size_t n;
    uint8_t bytes[];
};

struct kb_stream {
    struct kb_actor *actor;
    const struct kb_stream_handlers *handlers;
    void *user;
    struct kb__call *call;     /* client side, or: */
    struct kb__served *served; /* server side */
    int64_t credit;            /* what we may send */
    int64_t granted;           /* what the other side may still send */
    int64_t consumed;          /* not granted again yet */
    struct kb_link queue;
    size_t queued_bytes;
    struct kb_doc *last_word;
    bool accepted, paused, full; /* full: `writable` is owed */
    bool ending, sent_end, got_end;
    int busy; /* handlers that are running: freed when they return */
    bool dead;
    int failed; /* a code: to be told from the timer */
    struct kb_loop_timer timer;
};

static void stream_release(struct kb_stream *stream)
{
    struct kb_link *link;
    while ((link = kb_list_pop(&stream->queue)) != NULL)
        free(KB_CONTAINER(link, struct queued, link));
    kb_doc_destroy(&stream->last_word);
    free(stream);
}

/* Out of the books: no message finds it, no handler runs any more. */
void kb__stream_free(struct kb_stream *stream)
{
    kb_loop_timer_stop(stream->actor->loop, &stream->timer);
    if (stream->call)
        kb__call_free(KB_STEAL(stream->call));
    if (stream->served)
        kb__served_free(KB_STEAL(stream->served));
    stream->dead = true;
    if (stream->busy == 0)
        stream_release(stream);
}

static void busy_end(struct kb_stream *stream)
{
    if (--stream->busy == 0 && stream->dead)
        stream_release(stream);
}

void kb__stream_broken(struct kb_stream *stream, const struct kb_err *err)
{
    stream->busy++;
    kb__stream_free(stream);
    stream->handlers->end(stream->user, stream, err, (kb_val){NULL, NULL});
    busy_end(stream);
}

/* ---- sending ---- */

void kb__stream_lost(struct kb_stream *stream, int code)
{
    if (stream->failed)
        return;
    stream->failed = code;
    kb_loop_timer_set(stream->actor->loop, &stream->timer, 0);
}

static int emit(struct kb_stream *stream, enum kb_wire_type type, int64_t credit, kb_val body)
{
    int rc;
    if (stream->served) {
        rc = kb__served_send(stream->served, type, credit, body);
    } else {
        struct kb_wire_head head = {.type = type, .id = stream->call->id, .credit = credit};
        rc = kb__peer_send(stream->call->peer, &head, body);
    }
    if (rc < 0)
        kb__stream_lost(stream, -rc);
    return rc;
}

static void grant(struct kb_stream *stream)
{
    if (stream->paused || stream->got_end || stream->consumed < KB_STREAM_CREDIT / 2)
        return;
    stream->granted += stream->consumed;
    emit(stream, KB_WIRE_CREDIT, stream->consumed, (kb_val){NULL, NULL});
    stream->consumed = 0;
}

/* Send what credit allows; then the end, if that was asked for. May free the stream. */
static void flush(struct kb_stream *stream)
{
    while (stream->credit > 0 && !kb_list_empty(&stream->queue)) {
        struct queued *queued = KB_CONTAINER(kb_list_pop(&stream->queue), struct queued, link);
        stream->credit--;
        stream->queued_bytes -= queued->n;
        emit(stream, KB_WIRE_DATA, 0, (kb_val){queued->bytes, queued->bytes + queued->n});
        free(queued);
    }
    if (stream->ending && !stream->sent_end && stream->accepted && kb_list_empty(&stream->queue)) {
        stream->sent_end = true;
        emit(stream, KB_WIRE_END, 0, kb_doc_root(stream->last_word));
    }
    if (stream->sent_end && stream->got_end) {
        kb__stream_free(stream);
        return;
    }
    if (stream->full && stream->queued_bytes < KB_STREAM_QUEUE_MAX_BYTES / 2) {
        stream->full = false;
        if (stream->handlers->writable && !stream->ending)
            stream->handlers->writable(stream->user, stream);
    }
}

int kb_stream_send(struct kb_stream *stream, kb_val body)
{
    KB_ASSERT(!stream->ending && body.p != NULL);
    size_t n = kb_val_size(body);
    if (n > KB_FRAME_MAX_BYTES)
        return -KB_E2BIG;
    if (stream->credit > 0 && kb_list_empty(&stream->queue)) {
        stream->credit--;
        emit(stream, KB_WIRE_DATA, 0, body);
        return 0;
    }
    if (stream->queued_bytes > 0 && stream->queued_bytes + n > KB_STREAM_QUEUE_MAX_BYTES) {
        stream->full = true;
        return -KB_EFULL;
    }
    struct queued *queued = malloc(sizeof(*queued) + n);
    KB_ASSERT(queued != NULL);
    *queued = (struct queued){.n = n};
    memcpy(queued->bytes, body.p, n);
    kb_list_push(&stream->queue, &queued->link);
    stream->queued_bytes += n;
    return 0;
}

void kb_stream_end(struct kb_stream *stream, kb_val body)
{
    if (stream->ending)
        return;
    stream->ending = true;
    if (body.p)
        stream->last_word = kb_doc_of(body);
    stream->busy++;
    flush(stream);
    busy_end(stream);
}

void kb_stream_abort(struct kb_stream *stream, const struct kb_err *err)
{
    if (stream->dead)
        return;
    if (stream->served) {
        KB_AUTO(kb_w_finish) struct kb_w w = {0};
        kb_wire_error(err, (kb_val){NULL, NULL}, &w);
        emit(stream, KB_WIRE_ERR, 0, kb_w_val(&w));
    } else if (stream->call->method == NULL) {
        emit(stream, KB_WIRE_CANCEL, 0, (kb_val){NULL, NULL});
    }
    kb__stream_free(stream);
}

void kb_stream_pause(struct kb_stream *stream, bool paused)
{
    stream->paused = paused;
    if (!paused && !stream->dead)
        grant(stream);
}

/* ---- receiving ---- */

static void on_data(struct kb_stream *stream, kb_val body)
{
    if (stream->got_end)
        return;
    if (stream->granted == 0) {
        struct kb_err err = {0};
        kb_err_set(&err, KB_EFULL, "stream: the other side sends more than it was granted");
        stream->busy++;
        kb_stream_abort(stream, &err);
        stream->handlers->end(stream->user, stream, &err, (kb_val){NULL, NULL});
        busy_end(stream);
        return;
    }
    stream->granted--;
    stream->handlers->data(stream->user, stream, body);
    stream->consumed++;
    if (!stream->dead)
        grant(stream);
}

static void on_end(struct kb_stream *stream, kb_val body)
{
    if (stream->got_end)
        return;
    stream->got_end = true;
    stream->handlers->end(stream->user, stream, NULL, body);
    if (!stream->dead)
        flush(stream);
}

static void on_credit(struct kb_stream *stream, int64_t n)
{
    if (!stream->accepted && stream->call)
        kb_loop_timer_stop(stream->actor->loop, &stream->call->timer);
    stream->accepted = true;
    stream->credit += n;
    flush(stream);
}

static void on_error(struct kb_stream *stream, kb_val body)
{
    struct kb_err err = {0};
    kb_wire_error_read(body, &err);
    kb__stream_broken(stream, &err);
}

void kb__stream_message(struct kb_stream *stream, const struct kb_wire_head *head, kb_val body)
{
    struct kb_err canceled = {.code = KB_ECANCELED, .text = "the caller has gone"};
    bool client = stream->call != NULL;
    stream->busy++;
    if (head->type == KB_WIRE_DATA)
        on_data(stream, body);
    else if (head->type == KB_WIRE_END)
        on_end(stream, body);
    else if (head->type == KB_WIRE_CREDIT)
        on_credit(stream, head->credit);
    else if (head->type == KB_WIRE_ERR && client)
        on_error(stream, body);
    else if (head->type == KB_WIRE_CANCEL && !client)
        kb__stream_broken(stream, &canceled);
    else if (head->type == KB_WIRE_OK && client) { /* answered as a plain call: both ends at once */
        stream->ending = stream->sent_end = true;
        on_end(stream, body);
    }
    busy_end(stream);
}

/* ---- opening ---- */

static void on_timer(void *user)
{
    struct kb_stream *stream = user;
    if (stream->failed == 0 && stream->served) {
        emit(stream, KB_WIRE_CREDIT, 0, (kb_val){NULL, NULL});
        if (stream->failed == 0) {
            kb_loop_timer_set(stream->actor->loop, &stream->timer, ALIVE_MS);
            return;
        }
    }
    struct kb_err err = {0};
    kb_err_set(&err, stream->failed, "%s",
               stream->failed == KB_EUNAVAILABLE ? "the other side of the stream has gone"
                                                 : kb_err_text(stream->failed));
    kb__stream_broken(stream, &err);
}

static struct kb_stream *stream_new(struct kb_actor *actor,
                                    const struct kb_stream_handlers *handlers, void *user)
{
    struct kb_stream *stream = calloc(1, sizeof(*stream));
    KB_ASSERT(stream != NULL);
    stream->actor = actor;
    stream->handlers = handlers;
    stream->user = user;
    stream->granted = KB_STREAM_CREDIT;
    stream->timer = (struct kb_loop_timer){.fn = on_timer, .user = stream};
    kb_list_init(&stream->queue);
    return stream;
}

struct kb_stream *kb_stream_open(struct kb_peer *peer, const char *method, kb_val body,
                                 const struct kb_stream_handlers *handlers, void *user)
{
    struct kb_stream *stream = stream_new(peer->actor, handlers, user);
    stream->call = kb__call_new(peer, method, body, OPEN_TIMEOUT_MS);
    stream->call->stream = stream;
    if (peer->state == KB__UP)
        kb__call_send(stream->call, method, body);
    else
        kb__peer_use(peer);
    return stream;
}

struct kb_stream *kb_request_stream(struct kb_request **request_p,
                                    const struct kb_stream_handlers *handlers, void *user)
{
    struct kb_request *request = KB_STEAL(*request_p);
    struct kb__served *base = (struct kb__served *)request;
    struct kb_stream *stream = stream_new(base->actor, handlers, user);
    stream->credit = kb__request_credit(request);
    stream->accepted = true;
    bool canceled = kb__request_canceled(request);
    stream->served = kb__request_to_stream(request, stream);
    kb_loop_timer_set(stream->actor->loop, &stream->timer, ALIVE_MS);
    if (canceled) {
        stream->failed = KB_ECANCELED;
        kb_loop_timer_set(stream->actor->loop, &stream->timer, 0);
    } else {
        emit(stream, KB_WIRE_CREDIT, KB_STREAM_CREDIT, (kb_val){NULL, NULL});
    }
    return stream;
}
