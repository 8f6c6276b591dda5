/* peer.c - a service that this actor calls, and the connection to it.
 *
 * Calls wait here, not in ZeroMQ's queue, until the connection stands: a call that nobody awaits
 * any more is then never sent, and `dl` says what is truly left. When the connection breaks, what
 * was sent fails at once ("may or may not have been carried out"), what still waits goes on waiting
 * for the successor. Repeating what was sent is the caller's decision: only it knows whether that
 * is harmless. */
#include "bus/impl.h"

#include "bus/base/limits.h"
#include "bus/base/log.h"
#include "bus/base/sm.h"

enum { RETRY_MIN_MS = 20, RETRY_MAX_MS = 2000, CONNECT_MS = 5000 };

static const struct kb_sm_state states[] = {
    [KB__IDLE] = {"idle", KB_SM_TO(KB__RESOLVING)},
    [KB__RESOLVING] = {"resolving", KB_SM_TO(KB__CONNECTING) | KB_SM_TO(KB__IDLE)},
    [KB__CONNECTING] = {"connecting", KB_SM_TO(KB__UP) | KB_SM_TO(KB__RESOLVING)},
    [KB__UP] = {"up", KB_SM_TO(KB__RESOLVING)},
};

static void peer_move(struct kb_peer *peer, enum kb__peer_state to)
{
    kb_sm_move(states, &peer->state, (int)to, peer->name);
}

int kb__send(struct kb_actor *actor, struct kb_socket *socket, kb_str route,
             const struct kb_wire_head *head, kb_val body)
{
    kb_wire_encode(head, &actor->head);
    kb_str frames[2] = {kb_buf_str(&actor->head), kb_str_n("\x80", 1)};
    if (body.p)
        frames[1] = kb_str_n((const char *)body.p, kb_val_size(body));
    if (frames[0].n > KB_HEADER_MAX_BYTES || frames[1].n > KB_FRAME_MAX_BYTES)
        return -KB_E2BIG; /* the other side would break the connection */
    return kb_socket_send(socket, route, frames, 2);
}

int kb__peer_send(struct kb_peer *peer, const struct kb_wire_head *head, kb_val body)
{
    if (peer->state != KB__UP)
        return -KB_EUNAVAILABLE;
    return kb__send(peer->actor, peer->socket, kb_str_n(NULL, 0), head, body);
}

/* ---- calls ---- */

static struct kb__call *call_find(const struct kb_peer *peer, uint64_t id)
{
    struct kb__entry *entry = kb__table_first(&peer->calls, kb__mix(id));
    while (entry && ((struct kb__call *)entry)->id != id)
        entry = kb__table_next(entry);
    return (struct kb__call *)entry;
}

void kb__call_free(struct kb__call *call)
{
    kb_loop_timer_stop(call->peer->actor->loop, &call->timer);
    kb_list_remove(&call->link);
    kb__table_del(&call->peer->calls, &call->entry);
    free(call->method);
    free(call);
}

/* The end of a call: out of the books first, for the callback may do anything. */
static void call_finish(struct kb__call *call, const struct kb_err *err, kb_val body)
{
    struct kb_stream *stream = call->stream;
    kb_reply_fn *fn = call->fn;
    void *user = call->user;
    if (stream) {
        kb__stream_broken(stream, err); /* frees the call too */
        return;
    }
    kb__call_free(call);
    fn(user, err, body);
}

static void call_fail(struct kb__call *call, int code)
{
    struct kb_err err = {0};
    const char *service = call->peer->name;
    if (code == KB_ETIMEOUT && call->method)
        kb_err_set(&err, KB_ETIMEOUT, "%s: %s did not appear in time", call->method, service);
    else if (code == KB_ETIMEOUT)
        kb_err_set(&err, KB_ETIMEOUT, "%s did not answer in time", service);
    else if (code == KB_EFULL)
        kb_err_set(&err, KB_EFULL, "too much is under way to %s", service);
    else if (code == KB_E2BIG)
        kb_err_set(&err, KB_E2BIG, "the message to %s is too large", service);
    else
        kb_err_set(&err, code, "%s went away", service);
    call_finish(call, &err, (kb_val){NULL, NULL});
}

static void on_call_timer(void *user)
{
    struct kb__call *call = user;
    call_fail(call, call->failed ? call->failed : KB_ETIMEOUT);
}

void kb__call_send(struct kb__call *call, const char *method, kb_val body)
{
    struct kb_peer *peer = call->peer;
    struct kb_wire_head head = {
        .type = KB_WIRE_CALL,
        .id = call->id,
        .method = kb_str_of(method),
        .from = kb_str_of(peer->actor->name),
        .credit = call->stream ? KB_STREAM_CREDIT : 0,
    };
    if (call->due_ms) {
        head.deadline_ms = call->due_ms - kb_loop_now(peer->actor->loop);
        if (head.deadline_ms < 1)
            head.deadline_ms = 1;
    }
    call->connection = peer->connection;
    kb_list_remove(&call->link);
    kb_list_push(&peer->sent, &call->link);
    int rc = kb__peer_send(peer, &head, body);
    if (rc < 0) {
        call->failed = -rc;
        kb_loop_timer_set(peer->actor->loop, &call->timer, 0);
    }
}

struct kb__call *kb__call_new(struct kb_peer *peer, const char *method, kb_val body,
                              kb_ms timeout_ms)
{
    struct kb_loop *loop = peer->actor->loop;
    struct kb__call *call = calloc(1, sizeof(*call));
    KB_ASSERT(call != NULL);
    call->peer = peer;
    call->id = ++peer->next_id;
    call->timer.fn = on_call_timer;
    call->timer.user = call;
    if (timeout_ms > 0) {
        call->due_ms = kb_loop_now(loop) + timeout_ms;
        kb_loop_timer_set(loop, &call->timer, timeout_ms);
    }
    kb__table_put(&peer->calls, &call->entry, kb__mix(call->id));
    if (peer->state == KB__UP)
        return call; /* the caller sends it */
    size_t name = strlen(method) + 1;
    call->body_bytes = body.p ? kb_val_size(body) : 0;
    call->method = malloc(name + call->body_bytes);
    KB_ASSERT(call->method != NULL);
    memcpy(call->method, method, name);
    if (call->body_bytes)
        memcpy(call->method + name, body.p, call->body_bytes);
    kb_list_push(&peer->waiting, &call->link);
    return call;
}

uint64_t kb_call(struct kb_peer *peer, const char *method, kb_val body, kb_ms timeout_ms,
                 kb_reply_fn *fn, void *user)
{
    KB_ASSERT(timeout_ms > 0);
    struct kb__call *call = kb__call_new(peer, method, body, timeout_ms);
    uint64_t id = call->id;
    call->fn = fn;
    call->user = user;
    if (peer->state == KB__UP)
        kb__call_send(call, method, body);
    else
        kb__peer_use(peer);
    return id;
}

void kb_call_cancel(struct kb_peer *peer, uint64_t id)
{
    struct kb__call *call = call_find(peer, id);
    if (call == NULL || call->stream)
        return;
    bool sent = call->method == NULL && call->connection == peer->connection;
    kb__call_free(call);
    if (sent)
        kb__peer_send(peer, &(struct kb_wire_head){.type = KB_WIRE_CANCEL, .id = id},
                      (kb_val){NULL, NULL});
}

/* ---- the connection ---- */

/* What waited is sent; its time is counted from when it was started. */
static void on_up(void *user)
{
    struct kb_peer *peer = user;
    if (peer->state != KB__CONNECTING)
        return;
    peer_move(peer, KB__UP);
    peer->connection++;
    peer->backoff_ms = RETRY_MIN_MS;
    kb_loop_timer_stop(peer->actor->loop, &peer->retry);
    if (peer->on_up)
        peer->on_up(peer->actor);
    while (!kb_list_empty(&peer->waiting)) {
        struct kb__call *call = KB_CONTAINER(peer->waiting.next, struct kb__call, link);
        char *method = KB_STEAL(call->method);
        const uint8_t *body = (const uint8_t *)method + strlen(method) + 1;
        kb_val val = {call->body_bytes ? body : NULL, body + call->body_bytes};
        kb__call_send(call, method, val);
        free(method);
    }
}

static void fail_sent(struct kb_peer *peer)
{
    uint64_t broken = peer->connection;
    while (!kb_list_empty(&peer->sent)) {
        struct kb__call *call = KB_CONTAINER(peer->sent.next, struct kb__call, link);
        if (call->connection != broken)
            break; /* sent by a callback, on a connection that came up meanwhile */
        call_fail(call, KB_EUNAVAILABLE);
    }
}

static bool peer_needed(const struct kb_peer *peer)
{
    return !kb_list_empty(&peer->waiting) || peer->wanted || peer->on_up;
}

/* Look the service up once more, after a pause that grows. */
static void peer_retry(struct kb_peer *peer)
{
    kb_loop_timer_set(peer->actor->loop, &peer->retry, peer->backoff_ms);
    peer->backoff_ms *= 2;
    if (peer->backoff_ms > RETRY_MAX_MS)
        peer->backoff_ms = RETRY_MAX_MS;
}

static void peer_disconnect(struct kb_peer *peer)
{
    kb_socket_close(&peer->socket);
    peer_move(peer, KB__RESOLVING);
}

static void on_down(void *user)
{
    struct kb_peer *peer = user;
    if (peer->state != KB__UP)
        return;
    kb_debug("connection to %s broke", peer->name);
    peer_disconnect(peer);
    peer_retry(peer);
    fail_sent(peer);
}

static void on_reply(struct kb_peer *peer, const struct kb_wire_head *head, kb_val body)
{
    struct kb__call *call = call_find(peer, head->id);
    if (call == NULL)
        return; /* canceled or timed out */
    if (call->stream) {
        kb__stream_message(call->stream, head, body);
    } else if (head->type == KB_WIRE_OK) {
        call_finish(call, NULL, body);
    } else if (head->type == KB_WIRE_ERR) {
        struct kb_err err = {0};
        kb_wire_error_read(body, &err);
        call_finish(call, &err, body);
    } else if (head->type == KB_WIRE_CREDIT) {
        struct kb_err err = {0};
        kb_err_set(&err, KB_EINVAL, "%s answered a plain call with a stream", peer->name);
        call_finish(call, &err, (kb_val){NULL, NULL});
    }
}

static void on_message(void *user, struct kb_message *owned)
{
    KB_AUTO(kb_message_destroy) struct kb_message *message = owned;
    struct kb_peer *peer = user;
    struct kb_wire_head head;
    struct kb_err err = {0};
    kb_val body = {NULL, NULL};
    int rc = message->n ? kb_wire_decode(message->frame[0], &head, &err) : -KB_EINVAL;
    if (rc == 0 && message->n > 1)
        rc = kb_wire_body(message->frame[1], &body, &err);
    if (rc < 0) {
        kb_warn("%s sent a message that cannot be read: %s", peer->name, err.text);
        return;
    }
    on_reply(peer, &head, body);
}

static const struct kb_socket_handlers client_handlers = {
    .message = on_message, .up = on_up, .down = on_down};

void kb__peer_resolved(struct kb_peer *peer, const char *call, const char *events,
                       const struct kb_err *err)
{
    struct kb_err local = {0};
    KB_ASSERT(peer->state == KB__RESOLVING);
    int rc = err ? -err->code : 0;
    if (rc == 0)
        rc = kb_socket_open(peer->actor->transport, KB_SOCKET_CLIENT, call, &client_handlers, peer,
                            &peer->socket, &local);
    if (rc < 0) {
        kb_debug("%s: %s", peer->name, err ? err->text : local.text);
        if (peer_needed(peer))
            peer_retry(peer);
        else
            peer_move(peer, KB__IDLE);
        return;
    }
    free(peer->call_endpoint);
    free(peer->events_endpoint);
    peer->call_endpoint = kb_strf("%s", call);
    peer->events_endpoint = events ? kb_strf("%s", events) : NULL;
    peer_move(peer, KB__CONNECTING);
    kb_loop_timer_set(peer->actor->loop, &peer->retry, CONNECT_MS);
    kb__views_resolved(peer->actor, peer);
}

/* While resolving: try again. While connecting: it has taken long, perhaps it has moved. */
static void on_retry(void *user)
{
    struct kb_peer *peer = user;
    if (peer->state == KB__CONNECTING && !peer->actor->standalone)
        peer_disconnect(peer);
    if (peer->state != KB__RESOLVING)
        return;
    if (peer_needed(peer))
        kb__resolve(peer);
    else
        peer_move(peer, KB__IDLE);
}

void kb__peer_use(struct kb_peer *peer)
{
    if (peer->state != KB__IDLE)
        return;
    peer_move(peer, KB__RESOLVING);
    kb__resolve(peer);
}

struct kb_peer *kb_actor_peer(struct kb_actor *actor, const char *service)
{
    struct kb_peer *peer = kb_map_get(&actor->peers, kb_str_of(service));
    if (peer)
        return peer;
    peer = calloc(1, sizeof(*peer));
    KB_ASSERT(peer != NULL);
    peer->actor = actor;
    peer->name = kb_strf("%s", service);
    peer->backoff_ms = RETRY_MIN_MS;
    peer->retry = (struct kb_loop_timer){.fn = on_retry, .user = peer};
    kb_list_init(&peer->waiting);
    kb_list_init(&peer->sent);
    kb_map_put(&actor->peers, kb_str_of(service), peer);
    return peer;
}

void kb__peer_destroy(struct kb_peer *peer)
{
    struct kb__entry *entry;
    kb_loop_timer_stop(peer->actor->loop, &peer->retry);
    while ((entry = kb__table_any(&peer->calls)) != NULL) {
        struct kb__call *call = (struct kb__call *)entry;
        if (call->stream)
            kb__stream_free(call->stream);
        else
            kb__call_free(call);
    }
    kb_socket_close(&peer->socket);
    kb__table_finish(&peer->calls);
    free(peer->call_endpoint);
    free(peer->events_endpoint);
    free(peer->name);
    free(peer);
}
