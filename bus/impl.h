/* What the files of bus/ share with each other and nobody else. */
#ifndef KUBUS_BUS_IMPL_H
#define KUBUS_BUS_IMPL_H

#include "bus/actor.h"
#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/base/rand.h"
#include "bus/loop.h"
#include "bus/table.h"
#include "bus/transport.h"
#include "bus/wire/envelope.h"

enum {
    KB__ROUTE_MAX = 255,
    KB__BEAT_MS = 2000,    /* until the kernel says otherwise */
    KB__SETTLED_MS = 3000, /* after it is ready */
};

struct kb__feed;

struct kb_actor {
    uint32_t magic;
#define KB__ACTOR_MAGIC 0x6b627573u
    char *name, *data_dir, *run_dir;
    bool standalone, owns_transport, stopped, stopping, ready;
    int lock_fd;
    struct kb_err failed; /* what kb_actor_run returns */
    void (*stop)(void *user);
    void *stop_user;
    struct kb_transport *transport;
    struct kb_loop *loop;
    struct kb_socket *server, *publisher;
    struct kb_map peers;     /* service → struct kb_peer */
    struct kb_map methods;   /* name → struct kb__method */
    struct kb__table served; /* struct kb__served by route and id */
    size_t served_bytes;     /* of their messages */
    size_t served_max_bytes; /* KB_SERVED_MAX_BYTES, or less for a test */
    kb_subscription_fn *on_subscription;
    void *subscription_user;
    struct kb_map gauges; /* name → int64_t on the heap */
    struct kb_buf head;   /* scratch for encoding */
    struct kb_map feeds;  /* service → struct kb__feed (view.c) */

    /* supervision (register.c) */
    char instance[KB_UUID_BYTES];
    kb_ms started_ms, beat_ms;
    int64_t restarts; /* as whoever started us said */
    uint64_t beat_call, register_call;
    struct kb_loop_timer beat_timer, settled_timer;
    int64_t used_us, tidy_us; /* processor time at the last beat; when memory was given back */

    int signal_fd; /* an eventfd that the signal handler writes; -1 */
    struct kb_loop_fd *signal_watch;
};

/* ---- peers (peer.c): a service that is called, and its connection ---- */

/*  IDLE --use--> RESOLVING --found--> CONNECTING --up--> UP --down--> RESOLVING
 *                RESOLVING --failed, nobody waits--> IDLE                       */
enum kb__peer_state { KB__IDLE, KB__RESOLVING, KB__CONNECTING, KB__UP };

struct kb_peer {
    struct kb_actor *actor;
    char *name;
    int state;
    struct kb_socket *socket;
    char *call_endpoint, *events_endpoint; /* NULL until resolved */
    struct kb__table calls;                /* struct kb__call by id */
    struct kb_link waiting;                /* calls to be sent when it is up, oldest first */
    struct kb_link sent;                   /* calls sent on this connection, oldest first */
    uint64_t next_id, connection;          /* which connection: a count */
    kb_ms backoff_ms;
    struct kb_loop_timer retry;
    uint64_t resolve_call;
    bool wanted;                           /* by a feed: resolve even if no call waits */
    void (*on_up)(struct kb_actor *actor); /* for the kernel's peer: register again */
};

/* A call under way, or a stream that was opened by one. */
struct kb__call {
    struct kb__entry entry; /* first */
    struct kb_link link;    /* in waiting or sent */
    struct kb_peer *peer;
    uint64_t id, connection;
    kb_ms due_ms; /* on the loop's clock; 0: no deadline */
    struct kb_loop_timer timer;
    kb_reply_fn *fn;
    void *user;
    int failed;               /* a code: told from the timer, as nothing calls back at once */
    struct kb_stream *stream; /* instead of fn */
    char *method;             /* while waiting; the body stands behind it */
    size_t body_bytes;
};

struct kb__call *kb__call_new(struct kb_peer *peer, const char *method, kb_val body,
                              kb_ms timeout_ms);
void kb__call_free(struct kb__call *call); /* out of all lists */
void kb__peer_use(struct kb_peer *peer);   /* resolve and connect unless under way */
void kb__peer_destroy(struct kb_peer *peer);
/* The endpoints of the peer are known (directory.c). NULL: not found; err says why. */
void kb__peer_resolved(struct kb_peer *peer, const char *call, const char *events,
                       const struct kb_err *err);
int kb__peer_send(struct kb_peer *peer, const struct kb_wire_head *head, kb_val body);
void kb__call_send(struct kb__call *call, const char *method, kb_val body);

/* ---- quiet.c ---- */

/* At every beat: give memory back after a burst. */
void kb__quiet_look(struct kb_actor *actor);

/* ---- directory.c ---- */

/* Find where the peer's service listens; answers by kb__peer_resolved, perhaps at once. */
void kb__resolve(struct kb_peer *peer);
/* "ipc://RUN/NAME.sock"; a '/' in the name becomes '~'. Caller frees. */
char *kb__endpoint(const struct kb_actor *actor, const char *service, const char *suffix);

/* ---- serving (serve.c) ---- */

struct kb__method {
    const struct kb_method *method;
    void *user;
};

/* A request that is being served, or the stream it became. */
struct kb__served {
    struct kb__entry entry; /* first */
    struct kb_actor *actor;
    uint64_t id;
    struct kb_request *request; /* one of these two */
    struct kb_stream *stream;
    uint8_t route_bytes;
    char route[KB__ROUTE_MAX];
};

extern const struct kb_socket_handlers kb__server_handlers;
void kb__actor_bind(struct kb_actor *actor); /* the socket for calls, once */
int kb__served_send(struct kb__served *served, enum kb_wire_type type, int64_t credit, kb_val body);
void kb__served_free(struct kb__served *served);
void kb__serve_finish(struct kb_actor *actor);
int64_t kb__request_credit(const struct kb_request *request);
struct kb__served *kb__request_to_stream(struct kb_request *request, struct kb_stream *stream);
bool kb__request_canceled(const struct kb_request *request);

/* ---- streams (stream.c) ---- */

void kb__stream_message(struct kb_stream *stream, const struct kb_wire_head *head, kb_val body);
/* The connection or the opening failed: tells the user, frees. */
void kb__stream_broken(struct kb_stream *stream, const struct kb_err *err);
void kb__stream_free(struct kb_stream *stream); /* silently */
/* Something that was sent did not arrive: it breaks, in the next pass. */
void kb__stream_lost(struct kb_stream *stream, int code);

/* ---- register.c, view.c ---- */

void kb__register_start(struct kb_actor *actor);
void kb__register_ready(struct kb_actor *actor);
void kb__register_stop(struct kb_actor *actor);
void kb__views_resolved(struct kb_actor *actor, struct kb_peer *peer);
void kb__views_finish(struct kb_actor *actor);

/* -KB_EFULL, -KB_EUNAVAILABLE (kb_socket_send), -KB_E2BIG. */
int kb__send(struct kb_actor *actor, struct kb_socket *socket, kb_str route,
             const struct kb_wire_head *head, kb_val body);

#endif
