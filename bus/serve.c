/* serve.c - calls that come in: checked, looked up, handed to their method, answered.
 *
 * A request keeps the message it came in, so its body is never copied. Requests and server-side
 * streams stand in one table by (route, id): where a `cancel`, or a stream's messages, find them.
 */
#include "bus/impl.h"

#include "bus/base/limits.h"
#include "bus/base/log.h"

struct kb_request {
    struct kb__served served;
    struct kb_message *message;
    const struct kb__method *method;
    size_t bytes; /* of the message */
    kb_val body;
    kb_ms due_ms; /* 0: none */
    int64_t credit;
    bool canceled;
    char from[64];
};

static uint64_t served_hash(kb_str route, uint64_t id)
{
    return kb__mix(id ^ kb_hash64(route.p, route.n));
}

static struct kb__served *served_find(const struct kb_actor *actor, kb_str route, uint64_t id)
{
    struct kb__entry *entry = kb__table_first(&actor->served, served_hash(route, id));
    for (; entry; entry = kb__table_next(entry)) {
        struct kb__served *served = (struct kb__served *)entry;
        if (served->id == id && kb_str_eq(kb_str_n(served->route, served->route_bytes), route))
            return served;
    }
    return NULL;
}

int kb__served_send(struct kb__served *served, enum kb_wire_type type, int64_t credit, kb_val body)
{
    struct kb_wire_head head = {.type = type, .id = served->id, .credit = credit};
    return kb__send(served->actor, served->actor->server,
                    kb_str_n(served->route, served->route_bytes), &head, body);
}

/* An error to a caller of whom there is no request: bytes that make no sense, no such method. */
static void refuse(struct kb_actor *actor, kb_str route, uint64_t id, const struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (id == 0)
        return;
    kb_wire_error(err, (kb_val){NULL, NULL}, &w);
    kb__send(actor, actor->server, route, &(struct kb_wire_head){.type = KB_WIRE_ERR, .id = id},
             kb_w_val(&w));
}

void kb__served_free(struct kb__served *served)
{
    kb__table_del(&served->actor->served, &served->entry);
    struct kb_request *request = KB_CONTAINER(served, struct kb_request, served);
    served->actor->served_bytes -= request->bytes;
    kb_message_destroy(&request->message);
    free(request);
}

static size_t message_bytes(const struct kb_message *message)
{
    size_t bytes = 0;
    for (size_t i = 0; i < message->n; i++)
        bytes += message->frame[i].n;
    return bytes;
}

/* May it be taken in? Callers that do not wait for answers must not fill our memory. */
static int admit(const struct kb_actor *actor, kb_str route, uint64_t id, size_t bytes,
                 struct kb_err *err)
{
    if (served_find(actor, route, id))
        return kb_err_set(err, KB_EINVAL, "call id %llu is in use", (unsigned long long)id);
    if (actor->served.count >= KB_SERVED_MAX ||
        (actor->served.count > 0 && actor->served_bytes + bytes > actor->served_max_bytes))
        return kb_err_set(err, KB_EFULL, "%s has %zu calls under way", actor->name,
                          actor->served.count);
    return 0;
}

static void serve_call(struct kb_actor *actor, struct kb_message **message_p,
                       const struct kb_wire_head *head, kb_val body)
{
    kb_str route = (*message_p)->route;
    struct kb_err err = {0};
    const struct kb__method *method = kb_map_get(&actor->methods, head->method);
    if (method == NULL) {
        kb_err_set(&err, KB_ENOSYS, "%s does not serve '" KB_STR_FMT "'", actor->name,
                   KB_STR_ARG(head->method));
        refuse(actor, route, head->id, &err);
        return;
    }
    size_t bytes = message_bytes(*message_p);
    if (admit(actor, route, head->id, bytes, &err) < 0) {
        refuse(actor, route, head->id, &err);
        return;
    }
    struct kb_request *request = malloc(sizeof(*request));
    KB_ASSERT(request != NULL && route.n <= KB__ROUTE_MAX);
    request->served = (struct kb__served){.actor = actor, .id = head->id, .request = request};
    request->served.route_bytes = (uint8_t)route.n;
    memcpy(request->served.route, route.p, route.n);
    request->message = KB_STEAL(*message_p);
    request->method = method;
    request->bytes = bytes;
    actor->served_bytes += bytes;
    request->body = body;
    request->due_ms = head->deadline_ms ? kb_loop_now(actor->loop) + head->deadline_ms : 0;
    request->credit = head->credit;
    request->canceled = false;
    kb_str_copy(head->from, request->from, sizeof(request->from));
    kb__table_put(&actor->served, &request->served.entry, served_hash(route, head->id));
    method->method->fn(method->user, request, body);
}

static void serve_other(struct kb_actor *actor, kb_str route, const struct kb_wire_head *head,
                        kb_val body)
{
    struct kb__served *served = served_find(actor, route, head->id);
    if (served == NULL)
        return; /* answered already */
    if (served->stream)
        kb__stream_message(served->stream, head, body);
    else if (head->type == KB_WIRE_CANCEL)
        served->request->canceled = true;
}

static void on_message(void *user, struct kb_message *owned)
{
    KB_AUTO(kb_message_destroy) struct kb_message *message = owned;
    struct kb_actor *actor = user;
    struct kb_wire_head head = {0};
    struct kb_err err = {0};
    kb_val body = {NULL, NULL};
    kb_str route = message->route;
    if (message->n == 0 || route.n > KB__ROUTE_MAX)
        return;
    int rc = kb_wire_decode(message->frame[0], &head, &err);
    if (rc == 0 && message->n > 1)
        rc = kb_wire_body(message->frame[1], &body, &err);
    if (rc < 0) {
        if (err.code == KB_ENOSYS)
            err.code = KB_EINVAL; /* another version: the protocol promises BadRequest */
        kb_debug("message refused: %s", err.text);
        refuse(actor, route, head.id <= INT64_MAX ? head.id : 0, &err);
        return;
    }
    if (head.type == KB_WIRE_CALL)
        serve_call(actor, &message, &head, body);
    else
        serve_other(actor, route, &head, body);
}

/* A client is gone or does not read: its streams have lost something, and break. */
static void on_undelivered(void *user, kb_str route, int code)
{
    struct kb_actor *actor = user;
    for (size_t i = 0; i < actor->served.cap; i++)
        for (struct kb__entry *entry = actor->served.slots[i]; entry; entry = entry->next) {
            struct kb__served *served = (struct kb__served *)entry;
            kb_str to = kb_str_n(served->route, served->route_bytes);
            if (served->stream && kb_str_eq(to, route))
                kb__stream_lost(served->stream, code);
        }
}

const struct kb_socket_handlers kb__server_handlers = {.message = on_message,
                                                       .undelivered = on_undelivered};

void kb_actor_serve(struct kb_actor *actor, const struct kb_method *methods, size_t n, void *user)
{
    kb__actor_bind(actor);
    for (size_t i = 0; i < n; i++) {
        struct kb__method *entry = malloc(sizeof(*entry));
        KB_ASSERT(entry != NULL);
        *entry = (struct kb__method){&methods[i], user};
        free(kb_map_put(&actor->methods, kb_str_of(methods[i].name), entry));
    }
}

void kb__serve_finish(struct kb_actor *actor)
{
    struct kb__entry *any;
    while ((any = kb__table_any(&actor->served)) != NULL) {
        struct kb__served *served = (struct kb__served *)any;
        if (served->stream)
            kb__stream_free(served->stream);
        else
            kb__served_free(served);
    }
    kb__table_finish(&actor->served);
    void *entry;
    kb_str name;
    for (size_t i = 0; kb_map_next(&actor->methods, &i, &name, &entry);)
        free(entry);
    kb_map_finish(&actor->methods);
}

/* ---- requests ---- */

kb_val kb_request_body(const struct kb_request *request)
{
    return request->body;
}

const char *kb_request_method(const struct kb_request *request)
{
    return request->method->method->name;
}

const char *kb_request_caller(const struct kb_request *request)
{
    return request->from;
}

kb_ms kb_request_left_ms(const struct kb_request *request)
{
    if (request->canceled)
        return 0;
    if (request->due_ms == 0)
        return INT32_MAX;
    return request->due_ms - kb_loop_now(request->served.actor->loop);
}

static void answer(struct kb_request **request_p, enum kb_wire_type type, kb_val body)
{
    struct kb_request *request = KB_STEAL(*request_p);
    int rc = request->canceled ? 0 : kb__served_send(&request->served, type, 0, body);
    if (rc == -KB_E2BIG) {
        struct kb_err err = {0};
        kb_err_set(&err, KB_E2BIG, "%s: the answer is too large", kb_request_method(request));
        refuse(request->served.actor, request->message->route, request->served.id, &err);
    }
    kb__served_free(&request->served);
}

void kb_request_reply(struct kb_request **request_p, kb_val body)
{
    answer(request_p, KB_WIRE_OK, body);
}

void kb_request_fail_with(struct kb_request **request_p, const struct kb_err *err, kb_val details)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_wire_error(err, details, &w);
    answer(request_p, KB_WIRE_ERR, kb_w_val(&w));
}

void kb_request_fail(struct kb_request **request_p, const struct kb_err *err)
{
    kb_request_fail_with(request_p, err, (kb_val){NULL, NULL});
}

int64_t kb__request_credit(const struct kb_request *request)
{
    return request->credit;
}

/* The request's place in the table now belongs to the stream; its body stays as long as that. */
struct kb__served *kb__request_to_stream(struct kb_request *request, struct kb_stream *stream)
{
    request->served.request = NULL;
    request->served.stream = stream;
    return &request->served;
}

bool kb__request_canceled(const struct kb_request *request)
{
    return request->canceled;
}
