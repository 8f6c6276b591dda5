/* What the bus stands on: sockets that carry whole messages of a few frames between processes.
 *
 * Two implementations: ZeroMQ (transport_zmq.c, the only file that includes its header) and a
 * simulated network with a virtual clock (transport_sim.h). Four kinds of sockets, named by their
 * role rather than by ZeroMQ's words. Nothing here blocks: what cannot be sent is refused. */
#ifndef KUBUS_BUS_TRANSPORT_H
#define KUBUS_BUS_TRANSPORT_H

#include "bus/base/err.h"
#include "bus/base/str.h"

struct kb_loop;
struct kb_socket;
struct kb_transport;

enum { KB_FRAMES_MAX = 3 };

/* A message that came in; whoever gets it owns it. Frames are valid until it is destroyed. */
struct kb_message {
    kb_str route; /* server sockets: whom to answer; else empty */
    kb_str frame[KB_FRAMES_MAX];
    size_t n;
    void (*destroy)(struct kb_message *message);
};
void kb_message_destroy(struct kb_message **message_p);

enum kb_socket_type {
    KB_SOCKET_SERVER,    /* binds; takes calls of many clients (ROUTER) */
    KB_SOCKET_CLIENT,    /* connects to one server (DEALER) */
    KB_SOCKET_PUBLISHER, /* binds; sends to whoever subscribes (XPUB) */
    KB_SOCKET_FOLLOWER,  /* connects to one publisher (SUB) */
};

struct kb_socket_handlers {
    /* Takes the message over. A publisher gets none. */
    void (*message)(void *user, struct kb_message *message);
    /* Client: the connection stands / has broken (it is made again by itself; what was sent and not
     * answered may be lost). */
    void (*up)(void *user);
    void (*down)(void *user);
    /* Server: what was sent to this client did not go out and is lost: it is gone
     * (KB_EUNAVAILABLE), or reads too slowly (KB_EFULL). Not to send from. */
    void (*undelivered)(void *user, kb_str route, int code);
    /* Publisher: a follower came to a topic (each time), or the last one left it. */
    void (*subscription)(void *user, kb_str topic, bool subscribed);
};

struct kb_transport_ops {
    int (*open)(struct kb_transport *transport, enum kb_socket_type type, const char *endpoint,
                const struct kb_socket_handlers *handlers, void *user,
                struct kb_socket **ret_socket, struct kb_err *err);
    void (*close)(struct kb_socket *socket);
    int (*send)(struct kb_socket *socket, kb_str route, const kb_str *frames, size_t n);
    void (*subscribe)(struct kb_socket *socket, kb_str topic, bool on);
    void (*destroy)(struct kb_transport *transport);
};

struct kb_transport {
    const struct kb_transport_ops *ops;
    struct kb_loop *loop;
    bool simulated; /* no descriptors, no signals */
};

struct kb_socket {
    struct kb_transport *transport;
    enum kb_socket_type type;
    const struct kb_socket_handlers *handlers;
    void *user;
};

/* Open and bind or connect; connecting goes on in the background. Endpoints: "ipc://PATH",
 * "tcp://HOST:PORT". `handlers` must outlive the socket. -KB_EINVAL, -KB_EIO. */
static inline int kb_socket_open(struct kb_transport *transport, enum kb_socket_type type,
                                 const char *endpoint, const struct kb_socket_handlers *handlers,
                                 void *user, struct kb_socket **ret_socket, struct kb_err *err)
{
    return transport->ops->open(transport, type, endpoint, handlers, user, ret_socket, err);
}

/* Close at once; no handler runs after it. May be called from a handler. */
void kb_socket_close(struct kb_socket **socket_p);

/* Send frames, copied; all or nothing, when the loop's pass ends. `route` for server sockets only.
 * -KB_EFULL over the high-water mark; -KB_EUNAVAILABLE when it is known at once that nobody is
 * there. What turns out later is told by `undelivered`. */
static inline int kb_socket_send(struct kb_socket *socket, kb_str route, const kb_str *frames,
                                 size_t n)
{
    return socket->transport->ops->send(socket, route, frames, n);
}

/* Followers: all topics that start with these bytes. */
static inline void kb_socket_subscribe(struct kb_socket *socket, kb_str topic, bool on)
{
    socket->transport->ops->subscribe(socket, topic, on);
}

void kb_transport_destroy(struct kb_transport **transport_p);

/* The real bus, with a loop of its own. Make it after the last fork: it has threads. */
int kb_transport_zmq_new(struct kb_transport **ret_transport, struct kb_err *err);

#endif
