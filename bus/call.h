/* Calls: a request with an id and a deadline to a service by name; a reply or an error back.
 * Streams: a call that carries many messages both ways, with credit. docs/protocol.md has the
 * bytes.
 *
 * Everything is asynchronous and single-threaded: callbacks run from the loop of the actor
 * (bus/loop.h), never from inside the function that started the call. A callback may start and
 * cancel calls and open and close anything. */
#ifndef KUBUS_BUS_CALL_H
#define KUBUS_BUS_CALL_H

#include "bus/base/clock.h"
#include "bus/model/doc.h"

struct kb_actor;

/* ---- client ---- */

/* A service that this actor calls: resolved through the directory when first used, connected
 * directly, resolved again when it moves. Calls wait for it to appear until their deadline. */
struct kb_peer;

/* The peer for a service name ("store", "api", "agent/n1"). One per name, owned by the actor. */
KB_API struct kb_peer *kb_actor_peer(struct kb_actor *actor, const char *service);

/* The end of a call: `err` is NULL and `body` the result, or `err` says why not (-KB_ETIMEOUT at
 * the deadline, -KB_EUNAVAILABLE when the service went away with the call under way: it may or may
 * not have been carried out). `body` is borrowed until the callback returns. Called exactly once,
 * unless the call was canceled. */
typedef void kb_reply_fn(void *user, const struct kb_err *err, kb_val body);

/* Start a call; `body` is copied. Returns its id, never 0. The deadline is in ms from now, > 0. */
KB_API uint64_t kb_call(struct kb_peer *peer, const char *method, kb_val body, kb_ms timeout_ms,
                        kb_reply_fn *fn, void *user);
/* Forget a call: its callback will not run; the server is told. No-op when it has ended. */
KB_API void kb_call_cancel(struct kb_peer *peer, uint64_t id);

/* ---- server ---- */

/* A call being served. The method owns it until it replies, fails, or turns it into a stream. */
struct kb_request;

typedef void kb_method_fn(void *user, struct kb_request *request, kb_val body);

struct kb_method {
    const char *name; /* "store.get" */
    kb_method_fn *fn;
};

/* Serve these methods under the actor's name; may be called more than once. The table must outlive
 * the actor. The first call binds the actor's socket: when that fails, kb_actor_run says so. */
KB_API void kb_actor_serve(struct kb_actor *actor, const struct kb_method *methods, size_t n,
                           void *user);
/* The request's body again, for a method that answers later. Valid until answered. */
KB_API kb_val kb_request_body(const struct kb_request *request);
KB_API const char *kb_request_method(const struct kb_request *request);
/* The name of the actor that calls ("deployment"), as the caller states it; "" when unknown. */
KB_API const char *kb_request_caller(const struct kb_request *request);
/* Milliseconds left until the caller gives up; ≤ 0: nobody waits any more. */
KB_API kb_ms kb_request_left_ms(const struct kb_request *request);
/* Answer, or fail, and forget: *request_p becomes NULL. `body` is copied; KB_NONE sends {}. */
KB_API void kb_request_reply(struct kb_request **request_p, kb_val body);
KB_API void kb_request_fail(struct kb_request **request_p, const struct kb_err *err);
/* Fail with further fields in the error's body: a map merged beside code, reason, message. */
KB_API void kb_request_fail_with(struct kb_request **request_p, const struct kb_err *err,
                                 kb_val details);

/* ---- streams ---- */

/* Both ends look the same. A side may send as many data messages as the other granted credit for;
 * what is beyond is queued here, bounded by KB_STREAM_QUEUE_MAX_BYTES. */
struct kb_stream;

enum { KB_STREAM_CREDIT = 64, KB_STREAM_QUEUE_MAX_BYTES = 1024 * 1024 };

struct kb_stream_handlers {
    /* One message; borrowed until return. Credit goes back by itself when it returns, unless the
     * stream is paused. */
    void (*data)(void *user, struct kb_stream *stream, kb_val body);
    /* The other side has finished its direction in order (`err` NULL, `body` its last word), or
     * the stream broke. After an error nothing follows, and the stream is gone. */
    void (*end)(void *user, struct kb_stream *stream, const struct kb_err *err, kb_val body);
    /* The queue has drained below half after kb_stream_send said -KB_EFULL. May be NULL. */
    void (*writable)(void *user, struct kb_stream *stream);
};

/* Open a stream by a call. `handlers` must outlive it. A server that refuses ends it with an error.
 */
KB_API struct kb_stream *kb_stream_open(struct kb_peer *peer, const char *method, kb_val body,
                                        const struct kb_stream_handlers *handlers, void *user);
/* Server side: turn a request into a stream; *request_p becomes NULL. The request's body stays
 * valid as long as the stream. */
KB_API struct kb_stream *kb_request_stream(struct kb_request **request_p,
                                           const struct kb_stream_handlers *handlers, void *user);
/* Queue one message. -KB_EFULL: over the bound, not queued; try again at `writable`. -KB_E2BIG. */
KB_API int kb_stream_send(struct kb_stream *stream, kb_val body);
/* Finish our direction; the stream is gone once both sides have. `body` may be KB_NONE. */
KB_API void kb_stream_end(struct kb_stream *stream, kb_val body);
/* Break it off with an error, both directions, now; no callback follows. */
KB_API void kb_stream_abort(struct kb_stream *stream, const struct kb_err *err);
/* Give no more credit / give it again: how a slow consumer stops a fast producer. */
KB_API void kb_stream_pause(struct kb_stream *stream, bool paused);

#endif
