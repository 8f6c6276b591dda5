/* transport_zmq.c - the real bus: ZeroMQ over ipc and tcp. The only file that knows zmq.h.
 *
 * Its descriptor (ZMQ_FD) is a doorbell, not a state: it rings once, and any send or receive may
 * take the ring away. So each socket is a source of the loop, marked by the doorbell and by every
 * send, and a pump receives until there is nothing left. No socket ever blocks.
 *
 * A client has a monitor, which says when its connection stands and when it broke: a call whose
 * server died fails at once and not at its deadline. A broken connection's unread replies are taken
 * before the break is told. Rejected: pings of our own on every connection, which cost wake-ups in
 * an idle cluster and notice a crash seconds later.
 *
 * Memory: a ZeroMQ socket costs about 20 KiB, its monitor the same; one I/O thread a process. */
#include "bus/transport.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/base/limits.h"
#include "bus/base/log.h"
#include "bus/loop_impl.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <zmq.h>

enum {
    CALLS_MAX = 100000,     /* messages a connection and direction: beyond, sends are refused */
    EVENTS_MAX = 20000,     /* … of events: beyond, they are dropped, and replayed */
    PUMP_MAX = 2048,        /* messages a socket and pass: timers must not starve */
    SOCKETS_MAX = 8192,     /* of one process */
    RECONNECT_MS = 5,       /* first attempt; doubles to: */
    RECONNECT_MAX_MS = 200, /*  */
    LINGER_MS = 200,        /* an actor that stops still sends its last replies */
    TCP_HEARTBEAT_MS = 5000,
    TCP_TIMEOUT_MS = 15000,
    POOL_MAX = 64,      /* message structs kept for reuse */
    FLUSH_AGAIN_MS = 5, /* a pipe that was full */
};

struct zmq_message {
    struct kb_message base;
    struct transport_zmq *owner;
    zmq_msg_t part[KB_FRAMES_MAX + 1]; /* the route first, on a server */
    size_t n;
    struct zmq_message *next; /* in the pool */
};

struct transport_zmq {
    struct kb_transport base;
    void *context;
    uint64_t monitors; /* numbers them */
    struct zmq_message *pool;
    size_t pooled;
    struct socket_zmq *flushes; /* sockets that have something waiting */
    struct kb_loop_timer flush_again;
};

struct socket_zmq {
    struct kb_socket base;
    void *zmq, *monitor;
    struct kb_loop_source source, monitor_source;
    struct kb_loop_fd *watch, *monitor_watch;
    bool pumping, closed; /* a close inside a handler waits for the pump to return */
    /* Parts that go out when the pass ends. Handed over one by one they would wake
     * ZeroMQ's thread for each; together they wake it once, and leave in few writes. */
    struct waiting_part {
        zmq_msg_t part;
        bool more;
    } * waiting;
    size_t waiting_n, waiting_cap;
    struct socket_zmq *flush_next; /* in transport->flushes */
    bool flush_asked;
};

/* ---- messages ---- */

static void message_destroy(struct kb_message *base)
{
    struct zmq_message *message = KB_CONTAINER(base, struct zmq_message, base);
    struct transport_zmq *owner = message->owner;
    for (size_t i = 0; i < message->n; i++)
        zmq_msg_close(&message->part[i]);
    if (owner->pooled == POOL_MAX) {
        free(message);
        return;
    }
    message->next = owner->pool;
    owner->pool = message;
    owner->pooled++;
}

static struct zmq_message *message_new(struct transport_zmq *owner)
{
    struct zmq_message *message = owner->pool;
    if (message) {
        owner->pool = message->next;
        owner->pooled--;
    } else {
        message = malloc(sizeof(*message));
        KB_ASSERT(message != NULL);
        message->owner = owner;
        message->base.destroy = message_destroy;
    }
    message->n = 0;
    message->base.n = 0;
    message->base.route = kb_str_n(NULL, 0);
    return message;
}

static kb_str part_bytes(zmq_msg_t *part)
{
    return kb_str_n(zmq_msg_data(part), zmq_msg_size(part));
}

/* Receive one message whole, NULL when none waits. One with more frames than any of ours is
 * dropped, and the next one taken. */
static struct zmq_message *receive(struct socket_zmq *socket)
{
    struct transport_zmq *owner = (struct transport_zmq *)socket->base.transport;
    size_t max = KB_FRAMES_MAX + (socket->base.type == KB_SOCKET_SERVER);
    struct zmq_message *message = message_new(owner);
    for (;;) {
        zmq_msg_t *part = &message->part[message->n];
        zmq_msg_t excess;
        if (message->n == max)
            part = &excess;
        zmq_msg_init(part);
        int rc;
        do
            rc = zmq_msg_recv(part, socket->zmq, ZMQ_DONTWAIT);
        while (rc < 0 && errno == EINTR);
        if (rc < 0) {
            zmq_msg_close(part);
            message_destroy(&message->base);
            return NULL;
        }
        bool more = zmq_msg_more(part) != 0;
        if (part == &excess) {
            zmq_msg_close(part);
            message->base.n = SIZE_MAX;
        } else {
            message->n++;
        }
        if (more)
            continue;
        if (message->base.n == 0)
            return message;
        message_destroy(&message->base); /* too many frames */
        message = message_new(owner);
    }
}

/* Point the frames at the parts, now that they do not move any more. */
static void message_frames(struct socket_zmq *socket, struct zmq_message *message)
{
    size_t first = socket->base.type == KB_SOCKET_SERVER;
    if (first)
        message->base.route = part_bytes(&message->part[0]);
    message->base.n = message->n - first;
    for (size_t i = first; i < message->n; i++)
        message->base.frame[i - first] = part_bytes(&message->part[i]);
}

static void ask_flush(struct socket_zmq *socket);
static void forget_waiting(struct socket_zmq *socket);
static void flush_waiting(struct socket_zmq *socket);

/* ---- pumps ---- */

static void socket_free(struct socket_zmq *socket)
{
    if (socket->zmq && socket->base.type != KB_SOCKET_CLIENT)
        flush_waiting(socket); /* last replies: they linger */
    forget_waiting(socket);
    if (socket->monitor) {
        kb_loop_fd_del(&socket->monitor_watch);
        kb_loop_unmark(&socket->monitor_source);
        zmq_socket_monitor(socket->zmq, NULL, 0);
        zmq_close(socket->monitor);
    }
    kb_loop_fd_del(&socket->watch);
    kb_loop_unmark(&socket->source);
    if (socket->zmq)
        zmq_close(socket->zmq);
    free(socket);
}

/* A publisher hears of subscriptions: one byte, 1 or 0, and the topic. */
static void hand_over(struct socket_zmq *socket, struct zmq_message *message)
{
    const struct kb_socket_handlers *handlers = socket->base.handlers;
    message_frames(socket, message);
    if (socket->base.type != KB_SOCKET_PUBLISHER) {
        handlers->message(socket->base.user, &message->base);
        return;
    }
    kb_str frame = message->base.frame[0];
    if (frame.n > 0 && handlers->subscription && (frame.p[0] == 0 || frame.p[0] == 1))
        handlers->subscription(socket->base.user, kb_str_n(frame.p + 1, frame.n - 1),
                               frame.p[0] == 1);
    message_destroy(&message->base);
}

static bool pump_messages(struct socket_zmq *socket, size_t max)
{
    struct zmq_message *message;
    size_t n = 0;
    while (!socket->closed && n < max && (message = receive(socket)) != NULL) {
        hand_over(socket, message);
        n++;
    }
    if (n == max && !socket->closed)
        kb_loop_mark(socket->base.transport->loop, &socket->source);
    return n > 0;
}

static bool pump(void *user)
{
    struct socket_zmq *socket = user;
    socket->pumping = true;
    bool any = pump_messages(socket, PUMP_MAX);
    socket->pumping = false;
    if (socket->closed)
        socket_free(socket);
    return any;
}

/* The next event of the monitor, 0 when none waits. */
static uint16_t monitor_event(struct socket_zmq *socket)
{
    uint16_t event = 0;
    zmq_msg_t part;
    for (bool first = true, more = true; more; first = false) {
        zmq_msg_init(&part);
        int rc;
        do
            rc = zmq_msg_recv(&part, socket->monitor, ZMQ_DONTWAIT);
        while (rc < 0 && errno == EINTR);
        if (rc >= (int)sizeof(event) && first)
            memcpy(&event, zmq_msg_data(&part), sizeof(event));
        more = rc >= 0 && zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
    return event;
}

static bool pump_monitor(void *user)
{
    struct socket_zmq *socket = user;
    const struct kb_socket_handlers *handlers = socket->base.handlers;
    uint16_t event;
    bool any = false;
    socket->pumping = true;
    while (!socket->closed && (event = monitor_event(socket)) != 0) {
        any = true;
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            handlers->up(socket->base.user);
        } else if (event == ZMQ_EVENT_DISCONNECTED) {
            pump_messages(socket, SIZE_MAX); /* replies that came before the break */
            if (!socket->closed)
                handlers->down(socket->base.user);
        }
    }
    socket->pumping = false;
    if (socket->closed)
        socket_free(socket);
    return any;
}

static void on_doorbell(void *user, int fd, uint32_t events)
{
    (void)fd, (void)events;
    struct socket_zmq *socket = user;
    kb_loop_mark(socket->base.transport->loop, &socket->source);
}

static void on_monitor_doorbell(void *user, int fd, uint32_t events)
{
    (void)fd, (void)events;
    struct socket_zmq *socket = user;
    kb_loop_mark(socket->base.transport->loop, &socket->monitor_source);
}

/* ---- sockets ---- */

static void set_int(void *zmq, int option, int value)
{
    int rc = zmq_setsockopt(zmq, option, &value, sizeof(value));
    KB_ASSERT(rc == 0);
}

static int doorbell_of(void *zmq)
{
    int fd;
    size_t n = sizeof(fd);
    int rc = zmq_getsockopt(zmq, ZMQ_FD, &fd, &n);
    KB_ASSERT(rc == 0);
    return fd;
}

static void set_options(struct socket_zmq *socket, const char *endpoint)
{
    void *zmq = socket->zmq;
    int64_t max_bytes = KB_FRAME_MAX_BYTES;
    zmq_setsockopt(zmq, ZMQ_MAXMSGSIZE, &max_bytes, sizeof(max_bytes));
    bool calls = socket->base.type == KB_SOCKET_SERVER || socket->base.type == KB_SOCKET_CLIENT;
    set_int(zmq, ZMQ_SNDHWM, calls ? CALLS_MAX : EVENTS_MAX);
    set_int(zmq, ZMQ_RCVHWM, calls ? CALLS_MAX : EVENTS_MAX);
    set_int(zmq, ZMQ_LINGER, socket->base.type == KB_SOCKET_SERVER ? LINGER_MS : 0);
    set_int(zmq, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(zmq, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    if (socket->base.type == KB_SOCKET_SERVER)
        set_int(zmq, ZMQ_ROUTER_MANDATORY, 1);
    if (socket->base.type == KB_SOCKET_PUBLISHER)
        set_int(zmq, ZMQ_XPUB_VERBOSE, 1);
    if (strncmp(endpoint, "tcp:", 4) == 0) {
        set_int(zmq, ZMQ_HEARTBEAT_IVL, TCP_HEARTBEAT_MS);
        set_int(zmq, ZMQ_HEARTBEAT_TIMEOUT, TCP_TIMEOUT_MS);
    }
}

/* Watch the connection of a client. Before it connects, or its first events are lost. */
static int monitor_start(struct transport_zmq *transport, struct socket_zmq *socket,
                         struct kb_err *err)
{
    char name[48];
    snprintf(name, sizeof(name), "inproc://monitor-%llu",
             (unsigned long long)transport->monitors++);
    if (zmq_socket_monitor(socket->zmq, name,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) < 0)
        return kb_err_set(err, KB_EIO, "socket monitor: %s", zmq_strerror(errno));
    socket->monitor = zmq_socket(transport->context, ZMQ_PAIR);
    if (socket->monitor == NULL || zmq_connect(socket->monitor, name) < 0)
        return kb_err_set(err, KB_EIO, "socket monitor: %s", zmq_strerror(errno));
    set_int(socket->monitor, ZMQ_LINGER, 0);
    socket->monitor_source = (struct kb_loop_source){.pump = pump_monitor, .user = socket};
    socket->monitor_watch = kb_loop_fd_add(transport->base.loop, doorbell_of(socket->monitor),
                                           EPOLLIN, on_monitor_doorbell, socket);
    return 0;
}

static int socket_start(struct transport_zmq *transport, struct socket_zmq *socket,
                        const char *endpoint, struct kb_err *err)
{
    static const int types[] = {ZMQ_ROUTER, ZMQ_DEALER, ZMQ_XPUB, ZMQ_SUB};
    enum kb_socket_type type = socket->base.type;
    socket->zmq = zmq_socket(transport->context, types[type]);
    if (socket->zmq == NULL)
        return kb_err_set(err, KB_EIO, "socket: %s", zmq_strerror(errno));
    set_options(socket, endpoint);
    socket->source = (struct kb_loop_source){.pump = pump, .user = socket};
    socket->watch = kb_loop_fd_add(transport->base.loop, doorbell_of(socket->zmq), EPOLLIN,
                                   on_doorbell, socket);
    if (type == KB_SOCKET_CLIENT && monitor_start(transport, socket, err) < 0)
        return -err->code;
    bool binds = type == KB_SOCKET_SERVER || type == KB_SOCKET_PUBLISHER;
    int rc = binds ? zmq_bind(socket->zmq, endpoint) : zmq_connect(socket->zmq, endpoint);
    if (rc < 0)
        return kb_err_set(err, KB_EIO, "%s %s: %s", binds ? "bind" : "connect", endpoint,
                          zmq_strerror(errno));
    kb_loop_mark(transport->base.loop, &socket->source);
    if (socket->monitor) /* the doorbell is silent until somebody has looked in vain */
        kb_loop_mark(transport->base.loop, &socket->monitor_source);
    return 0;
}

static int socket_open(struct kb_transport *base, enum kb_socket_type type, const char *endpoint,
                       const struct kb_socket_handlers *handlers, void *user,
                       struct kb_socket **ret_socket, struct kb_err *err)
{
    struct transport_zmq *transport = (struct transport_zmq *)base;
    struct kb_err local = {0};
    struct socket_zmq *socket = calloc(1, sizeof(*socket));
    KB_ASSERT(socket != NULL);
    socket->base = (struct kb_socket){base, type, handlers, user};
    int rc = socket_start(transport, socket, endpoint, err ? err : &local);
    if (rc < 0) {
        socket_free(socket);
        return rc;
    }
    *ret_socket = &socket->base;
    return 0;
}

static void socket_close(struct kb_socket *base)
{
    struct socket_zmq *socket = (struct socket_zmq *)base;
    socket->closed = true;
    if (!socket->pumping)
        socket_free(socket);
}

static void part_init(zmq_msg_t *part, kb_str bytes)
{
    int rc = zmq_msg_init_size(part, bytes.n);
    KB_ASSERT(rc == 0);
    if (bytes.n)
        memcpy(zmq_msg_data(part), bytes.p, bytes.n);
}

/* 0: ZeroMQ has the part. Else it is still the caller's. */
static int part_send(struct socket_zmq *socket, zmq_msg_t *part, bool more)
{
    int rc;
    do
        rc = zmq_msg_send(part, socket->zmq, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc >= 0 ? 0 : errno == EHOSTUNREACH ? -KB_EUNAVAILABLE : -KB_EFULL;
}

/* ---- sends, at the end of the pass ---- */

/* The message that begins at `at` cannot go out: skip it, tell whom it was for. Returns what stands
 * behind it. */
static size_t drop_message(struct socket_zmq *socket, size_t at, int code)
{
    const struct kb_socket_handlers *handlers = socket->base.handlers;
    if (handlers->undelivered && !socket->closed)
        handlers->undelivered(socket->base.user, part_bytes(&socket->waiting[at].part), code);
    for (bool more = true; more; at++) {
        more = socket->waiting[at].more;
        zmq_msg_close(&socket->waiting[at].part);
    }
    return at;
}

/* Only the first part of a message can be refused: ZeroMQ takes it whole or not at all. A client's
 * waits for the next pass; a server has other clients. */
static void flush_waiting(struct socket_zmq *socket)
{
    size_t sent = 0;
    if (socket->waiting_n == 0)
        return;
    while (sent < socket->waiting_n) {
        int rc = part_send(socket, &socket->waiting[sent].part, socket->waiting[sent].more);
        if (rc == 0)
            sent++;
        else if (socket->base.type == KB_SOCKET_CLIENT)
            break;
        else
            sent = drop_message(socket, sent, -rc);
    }
    socket->waiting_n -= sent;
    memmove(socket->waiting, socket->waiting + sent, socket->waiting_n * sizeof(*socket->waiting));
    kb_loop_mark(socket->base.transport->loop, &socket->source);
}

/* All sockets that have something waiting. Those whose pipe is full are asked again soon. */
static void flush_all(void *user)
{
    struct transport_zmq *transport = user;
    struct socket_zmq *socket = transport->flushes, *next;
    transport->flushes = NULL;
    for (; socket; socket = next) {
        next = socket->flush_next;
        flush_waiting(socket);
        socket->flush_asked = socket->waiting_n > 0;
        if (!socket->flush_asked)
            continue;
        socket->flush_next = transport->flushes;
        transport->flushes = socket;
        kb_loop_timer_set(transport->base.loop, &transport->flush_again, FLUSH_AGAIN_MS);
    }
}

static void ask_flush(struct socket_zmq *socket)
{
    struct transport_zmq *transport = (struct transport_zmq *)socket->base.transport;
    if (socket->flush_asked)
        return;
    if (transport->flushes == NULL)
        kb_loop_defer(transport->base.loop, flush_all, transport);
    socket->flush_asked = true;
    socket->flush_next = transport->flushes;
    transport->flushes = socket;
}

static void forget_waiting(struct socket_zmq *socket)
{
    struct transport_zmq *transport = (struct transport_zmq *)socket->base.transport;
    for (struct socket_zmq **at = &transport->flushes; *at; at = &(*at)->flush_next) {
        if (*at == socket) {
            *at = socket->flush_next;
            break;
        }
    }
    for (size_t i = 0; i < socket->waiting_n; i++)
        zmq_msg_close(&socket->waiting[i].part);
    free(socket->waiting);
}

static void add_waiting(struct socket_zmq *socket, kb_str bytes, bool more)
{
    KB_GROW(socket->waiting, socket->waiting_n, socket->waiting_cap, 16);
    struct waiting_part *at = &socket->waiting[socket->waiting_n++];
    at->more = more;
    part_init(&at->part, bytes);
}

static int socket_send(struct kb_socket *base, kb_str route, const kb_str *frames, size_t n)
{
    struct socket_zmq *socket = (struct socket_zmq *)base;
    if (socket->waiting_n >= CALLS_MAX)
        return -KB_EFULL;
    if (base->type == KB_SOCKET_SERVER)
        add_waiting(socket, route, true);
    for (size_t i = 0; i < n; i++)
        add_waiting(socket, frames[i], i + 1 < n);
    ask_flush(socket);
    return 0;
}

static void socket_subscribe(struct kb_socket *base, kb_str topic, bool on)
{
    struct socket_zmq *socket = (struct socket_zmq *)base;
    int rc = zmq_setsockopt(socket->zmq, on ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE, topic.p, topic.n);
    KB_ASSERT(rc == 0);
    kb_loop_mark(base->transport->loop, &socket->source);
}

/* ---- the transport ---- */

static void transport_destroy(struct kb_transport *base)
{
    struct transport_zmq *transport = (struct transport_zmq *)base;
    kb_loop_timer_stop(transport->base.loop, &transport->flush_again);
    while (zmq_ctx_term(transport->context) < 0 && errno == EINTR) {
    }
    while (transport->pool) {
        struct zmq_message *message = transport->pool;
        transport->pool = message->next;
        free(message);
    }
    kb_loop_destroy(&transport->base.loop);
    free(transport);
}

/* ZeroMQ's thread only carries: woken while somebody else computes, it shall wait and then carry
 * more at once instead of taking the processor for each message. Under load that is two of three
 * context switches, and a sixth of the time of a create from the gateway to the store and back;
 * when a processor is free nothing changes. Tried here first, because ZeroMQ ends the process where
 * a sandbox forbids it. */
static void carry_in_batches(void *context)
{
    struct sched_param param = {0};
    if (sched_getscheduler(0) != SCHED_OTHER || sched_setscheduler(0, SCHED_BATCH, &param) < 0)
        return;
    sched_setscheduler(0, SCHED_OTHER, &param);
    zmq_ctx_set(context, ZMQ_THREAD_SCHED_POLICY, SCHED_BATCH);
}

int kb_transport_zmq_new(struct kb_transport **ret_transport, struct kb_err *err)
{
    static const struct kb_transport_ops ops = {socket_open, socket_close, socket_send,
                                                socket_subscribe, transport_destroy};
    void *context = zmq_ctx_new();
    if (context == NULL)
        return kb_err_set(err, KB_EIO, "zmq context: %s", zmq_strerror(errno));
    zmq_ctx_set(context, ZMQ_IO_THREADS, 1);
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    carry_in_batches(context);
    struct transport_zmq *transport = calloc(1, sizeof(*transport));
    KB_ASSERT(transport != NULL);
    transport->base.ops = &ops;
    transport->base.loop = kb_loop_new(kb_clock_system(), NULL);
    transport->flush_again = (struct kb_loop_timer){.fn = flush_all, .user = transport};
    transport->context = context;
    *ret_transport = &transport->base;
    return 0;
}
