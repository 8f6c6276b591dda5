/* transport_sim.c - the bus without a network: deliveries are timers of one loop whose clock jumps.
 *
 * Equal due times fire in the order in which they were armed, randomness comes from one seed, hosts
 * and sockets are walked in the order in which they were made: a run repeats exactly. */
#include "bus/transport_sim.h"

#include "bus/base/check.h"
#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/loop_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECONNECT_MS = 50, DETECT_MS = 3000, BACKLOG = 20000 };

struct pair { /* two hosts, and how they get on */
    struct kb_link link;
    char *a, *b;
    struct kb_sim_link quality;
    bool cut;
};

struct kb_sim {
    struct kb_clock clock; /* first */
    kb_ms now_ms;
    struct kb_loop *loop;
    struct kb_rand rand;
    struct kb_link transports, pairs, sockets;
    struct kb_sim_link quality;
    uint64_t next_route;
};

struct transport_sim {
    struct kb_transport base;
    struct kb_sim *sim;
    struct kb_link link;
    char *host;
};

/* Client or follower `from`, server or publisher `to`. It lives until nothing is in flight. */
struct connection {
    struct kb_link from_link, to_link; /* in the sockets' lists; alone when that end is closed */
    struct sim_socket *from, *to;
    struct kb_sim *sim;
    char route[16];
    kb_ms last_due[2]; /* per direction: order is kept */
    size_t in_flight, events_in_flight;
    bool broken;
    struct kb_map topics; /* that `from` subscribed to, as `to` knows it */
};

struct sim_socket {
    struct kb_socket base;
    struct kb_link link; /* in the simulation */
    char *endpoint;
    struct kb_link connections;
    struct kb_map topics; /* follower: subscribed; publisher: number of followers */
    struct kb_loop_timer connect;
};

enum delivery_kind { MESSAGE, UP, SUBSCRIBE, UNSUBSCRIBE };

struct delivery {
    struct kb_loop_timer timer;
    struct connection *connection;
    bool to_server;
    bool event;
    enum delivery_kind kind;
    size_t n, bytes[KB_FRAMES_MAX];
    char data[];
};

static kb_ms sim_now(const struct kb_clock *clock)
{
    return ((const struct kb_sim *)clock)->now_ms;
}

static int64_t sim_wall(const struct kb_clock *clock)
{
    return INT64_C(1700000000000000) + ((const struct kb_sim *)clock)->now_ms * 1000;
}

static struct transport_sim *transport_of(const struct sim_socket *socket)
{
    return (struct transport_sim *)socket->base.transport;
}

/* ---- links between hosts ---- */

static struct pair *pair_find(const struct kb_sim *sim, const char *a, const char *b)
{
    KB_LIST_EACH(it, &sim->pairs)
    {
        struct pair *pair = KB_CONTAINER(it, struct pair, link);
        if ((strcmp(pair->a, a) == 0 && strcmp(pair->b, b) == 0) ||
            (strcmp(pair->a, b) == 0 && strcmp(pair->b, a) == 0))
            return pair;
    }
    return NULL;
}

static struct pair *pair_get(struct kb_sim *sim, const char *a, const char *b)
{
    struct pair *pair = pair_find(sim, a, b);
    if (pair)
        return pair;
    pair = calloc(1, sizeof(*pair));
    KB_ASSERT(pair != NULL);
    pair->a = kb_strf("%s", a);
    pair->b = kb_strf("%s", b);
    pair->quality = sim->quality;
    kb_list_push(&sim->pairs, &pair->link);
    return pair;
}

static const struct kb_sim_link *quality_of(const struct connection *c)
{
    struct pair *pair = pair_find(c->sim, transport_of(c->from)->host, transport_of(c->to)->host);
    return pair ? &pair->quality : &c->sim->quality;
}

static bool is_cut(const struct kb_sim *sim, const struct sim_socket *a, const struct sim_socket *b)
{
    struct pair *pair = pair_find(sim, transport_of(a)->host, transport_of(b)->host);
    return pair && pair->cut;
}

/* ---- connections ---- */

static void connection_release(struct connection *c)
{
    if (c->in_flight > 0 || c->from || c->to)
        return;
    kb_map_finish(&c->topics);
    free(c);
}

static void topic_left(struct sim_socket *publisher, kb_str topic)
{
    uintptr_t count = (uintptr_t)kb_map_get(&publisher->topics, topic);
    if (count > 1) {
        kb_map_put(&publisher->topics, topic, (void *)(count - 1));
        return;
    }
    kb_map_del(&publisher->topics, topic);
    if (publisher->base.handlers->subscription)
        publisher->base.handlers->subscription(publisher->base.user, topic, false);
}

/* The publisher forgets what this follower wanted. */
static void forget_topics(struct connection *c)
{
    kb_str topic;
    void *value;
    for (size_t i = 0; kb_map_next(&c->topics, &i, &topic, &value);) {
        KB_AUTO(kb_auto_free) char *copy = kb_str_dup(topic);
        kb_map_del(&c->topics, topic);
        topic_left(c->to, kb_str_n(copy, topic.n));
    }
}

static void connect_soon(struct sim_socket *socket, kb_ms after_ms)
{
    kb_loop_timer_set(transport_of(socket)->sim->loop, &socket->connect, after_ms);
}

/* Break it: what is in flight is lost, the client hears of it and tries again. */
static void connection_break(struct connection *c)
{
    if (c->broken)
        return;
    struct sim_socket *from = c->from, *to = c->to;
    c->broken = true;
    if (to && to->base.type == KB_SOCKET_PUBLISHER)
        forget_topics(c);
    kb_list_remove(&c->from_link);
    kb_list_remove(&c->to_link);
    c->from = c->to = NULL;
    connection_release(c);
    if (from == NULL)
        return;
    connect_soon(from, RECONNECT_MS);
    if (from->base.type == KB_SOCKET_CLIENT)
        from->base.handlers->down(from->base.user);
}

/* ---- deliveries ---- */

struct sim_message {
    struct kb_message base;
    char data[];
};

static void message_free(struct kb_message *base)
{
    free(KB_CONTAINER(base, struct sim_message, base));
}

static struct kb_message *message_of(const struct delivery *d, const struct connection *c)
{
    size_t total = 0, at = sizeof(c->route);
    for (size_t i = 0; i < d->n; i++)
        total += d->bytes[i];
    struct sim_message *message = calloc(1, sizeof(*message) + at + total);
    KB_ASSERT(message != NULL);
    message->base.destroy = message_free;
    message->base.n = d->n;
    if (d->to_server) {
        memcpy(message->data, c->route, sizeof(c->route));
        message->base.route = kb_str_n(message->data, strlen(message->data));
    }
    memcpy(message->data + at, d->data, total);
    for (size_t i = 0; i < d->n; at += d->bytes[i], i++)
        message->base.frame[i] = kb_str_n(message->data + at, d->bytes[i]);
    return &message->base;
}

static void deliver_subscription(struct connection *c, kb_str topic, bool on)
{
    struct sim_socket *publisher = c->to;
    if (!on) {
        if (kb_map_del(&c->topics, topic))
            topic_left(publisher, topic);
        return;
    }
    if (kb_map_put(&c->topics, topic, publisher) == NULL) {
        uintptr_t count = (uintptr_t)kb_map_get(&publisher->topics, topic);
        kb_map_put(&publisher->topics, topic, (void *)(count + 1));
    }
    if (publisher->base.handlers->subscription)
        publisher->base.handlers->subscription(publisher->base.user, topic, true);
}

static void deliver(struct delivery *d, struct connection *c)
{
    struct sim_socket *to = d->to_server ? c->to : c->from;
    if (d->kind == MESSAGE)
        to->base.handlers->message(to->base.user, message_of(d, c));
    else if (d->kind == UP)
        to->base.handlers->up(to->base.user);
    else
        deliver_subscription(c, kb_str_n(d->data, d->bytes[0]), d->kind == SUBSCRIBE);
}

static void on_delivery(void *user)
{
    struct delivery *d = user;
    struct connection *c = d->connection;
    c->events_in_flight -= d->event;
    if (!c->broken && is_cut(c->sim, c->from, c->to)) {
        /* lost; the ends notice later, and the connection breaks */
    } else if (!c->broken) {
        deliver(d, c);
    }
    c->in_flight--;
    if (c->broken)
        connection_release(c);
    free(d);
}

static void send_on(struct connection *c, bool to_server, enum delivery_kind kind,
                    const kb_str *frames, size_t n, bool event)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += frames[i].n;
    struct delivery *d = calloc(1, sizeof(*d) + total);
    KB_ASSERT(d != NULL);
    *d = (struct delivery){.timer = {.fn = on_delivery, .user = d},
                           .connection = c,
                           .to_server = to_server,
                           .event = event,
                           .kind = kind,
                           .n = n};
    char *at = d->data;
    for (size_t i = 0; i < n; at += frames[i].n, i++) {
        d->bytes[i] = frames[i].n;
        if (frames[i].n)
            memcpy(at, frames[i].p, frames[i].n);
    }
    const struct kb_sim_link *quality = quality_of(c);
    kb_ms span = quality->delay_max_ms - quality->delay_min_ms;
    kb_ms due = c->sim->now_ms + quality->delay_min_ms +
                (span > 0 ? (kb_ms)kb_rand_below(&c->sim->rand, (uint64_t)span + 1) : 0);
    if (due < c->last_due[to_server])
        due = c->last_due[to_server];
    c->last_due[to_server] = due;
    c->in_flight++;
    c->events_in_flight += event;
    kb_loop_timer_set(c->sim->loop, &d->timer, due - kb_loop_now(c->sim->loop));
}

/* ---- connecting ---- */

static struct sim_socket *bound_at(const struct kb_sim *sim, const char *endpoint)
{
    KB_LIST_EACH(it, &sim->sockets)
    {
        struct sim_socket *socket = KB_CONTAINER(it, struct sim_socket, link);
        bool binds =
            socket->base.type == KB_SOCKET_SERVER || socket->base.type == KB_SOCKET_PUBLISHER;
        if (binds && strcmp(socket->endpoint, endpoint) == 0)
            return socket;
    }
    return NULL;
}

static int topic_order(const void *a, const void *b)
{
    return kb_str_cmp(*(const kb_str *)a, *(const kb_str *)b);
}

/* Subscribe again to all, sorted: the map's order is not the same in every run. */
static void send_topics(struct connection *c)
{
    size_t n = 0;
    kb_str topic;
    void *value;
    KB_AUTO(kb_auto_free) kb_str *topics = calloc(c->from->topics.count + 1, sizeof(*topics));
    KB_ASSERT(topics != NULL);
    for (size_t i = 0; kb_map_next(&c->from->topics, &i, &topic, &value);)
        topics[n++] = topic;
    qsort(topics, n, sizeof(*topics), topic_order);
    for (size_t i = 0; i < n; i++)
        send_on(c, true, SUBSCRIBE, &topics[i], 1, false);
}

static void on_connect(void *user)
{
    struct sim_socket *from = user;
    struct kb_sim *sim = transport_of(from)->sim;
    struct sim_socket *to = bound_at(sim, from->endpoint);
    if (to == NULL || is_cut(sim, from, to)) {
        connect_soon(from, RECONNECT_MS);
        return;
    }
    struct connection *c = calloc(1, sizeof(*c));
    KB_ASSERT(c != NULL);
    c->sim = sim;
    c->from = from;
    c->to = to;
    snprintf(c->route, sizeof(c->route), "r%llu", (unsigned long long)++sim->next_route);
    kb_list_push(&from->connections, &c->from_link);
    kb_list_push(&to->connections, &c->to_link);
    if (from->base.type == KB_SOCKET_CLIENT) {
        send_on(c, false, UP, NULL, 0, false);
        return;
    }
    send_topics(c);
}

static struct connection *only_connection(const struct sim_socket *from)
{
    if (kb_list_empty(&from->connections))
        return NULL;
    return KB_CONTAINER(from->connections.next, struct connection, from_link);
}

/* ---- the transport ---- */

static int socket_open(struct kb_transport *base, enum kb_socket_type type, const char *endpoint,
                       const struct kb_socket_handlers *handlers, void *user,
                       struct kb_socket **ret_socket, struct kb_err *err)
{
    struct transport_sim *transport = (struct transport_sim *)base;
    bool binds = type == KB_SOCKET_SERVER || type == KB_SOCKET_PUBLISHER;
    if (binds && bound_at(transport->sim, endpoint))
        return kb_err_set(err, KB_EEXISTS, "bind %s: in use", endpoint);
    struct sim_socket *socket = calloc(1, sizeof(*socket));
    KB_ASSERT(socket != NULL);
    socket->base = (struct kb_socket){base, type, handlers, user};
    socket->endpoint = kb_strf("%s", endpoint);
    socket->connect = (struct kb_loop_timer){.fn = on_connect, .user = socket};
    kb_list_init(&socket->connections);
    kb_list_push(&transport->sim->sockets, &socket->link);
    if (!binds)
        connect_soon(socket, 1);
    *ret_socket = &socket->base;
    return 0;
}

static void socket_close(struct kb_socket *base)
{
    struct sim_socket *socket = (struct sim_socket *)base;
    bool binds = base->type == KB_SOCKET_SERVER || base->type == KB_SOCKET_PUBLISHER;
    kb_loop_timer_stop(base->transport->loop, &socket->connect);
    kb_list_remove(&socket->link);
    while (!kb_list_empty(&socket->connections)) {
        struct kb_link *first = socket->connections.next;
        struct connection *c = binds ? KB_CONTAINER(first, struct connection, to_link)
                                     : KB_CONTAINER(first, struct connection, from_link);
        if (!binds) {
            if (c->to->base.type == KB_SOCKET_PUBLISHER)
                forget_topics(c);
            kb_list_remove(&c->from_link);
            c->from = NULL; /* it is not to hear of it */
        } else {
            kb_map_finish(&c->topics); /* nor is the publisher */
        }
        connection_break(c);
    }
    kb_map_finish(&socket->topics);
    free(socket->endpoint);
    free(socket);
}

static bool breaks(struct connection *c)
{
    double chance = quality_of(c)->breaks;
    return chance > 0 && kb_rand_unit(&c->sim->rand) < chance;
}

static int publish(struct sim_socket *publisher, const kb_str *frames, size_t n)
{
    KB_LIST_EACH_SAFE(it, &publisher->connections)
    {
        struct connection *c = KB_CONTAINER(it, struct connection, to_link);
        if (kb_map_get(&c->topics, frames[0]) == NULL)
            continue;
        const struct kb_sim_link *quality = quality_of(c);
        size_t backlog = quality->backlog ? quality->backlog : BACKLOG;
        bool dropped = quality->drop > 0 && kb_rand_unit(&c->sim->rand) < quality->drop;
        if (!dropped && c->events_in_flight < backlog)
            send_on(c, false, MESSAGE, frames, n, true);
    }
    return 0;
}

static struct connection *by_route(const struct sim_socket *server, kb_str route)
{
    KB_LIST_EACH(it, &server->connections)
    {
        struct connection *c = KB_CONTAINER(it, struct connection, to_link);
        if (kb_str_is(route, c->route))
            return c;
    }
    return NULL;
}

/* A connection that is to break does so from its own timer: nothing calls back during a send. */
struct breaking {
    struct kb_loop_timer timer;
    struct connection *connection;
};

static void on_break(void *user)
{
    struct breaking *breaking = user;
    struct connection *c = breaking->connection;
    c->in_flight--;
    if (c->broken)
        connection_release(c);
    else
        connection_break(c);
    free(breaking);
}

static void break_soon(struct connection *c, kb_ms after_ms)
{
    struct breaking *breaking = calloc(1, sizeof(*breaking));
    KB_ASSERT(breaking != NULL);
    breaking->timer = (struct kb_loop_timer){.fn = on_break, .user = breaking};
    breaking->connection = c;
    c->in_flight++;
    kb_loop_timer_set(c->sim->loop, &breaking->timer, after_ms);
}

static int socket_send(struct kb_socket *base, kb_str route, const kb_str *frames, size_t n)
{
    struct sim_socket *socket = (struct sim_socket *)base;
    if (base->type == KB_SOCKET_PUBLISHER)
        return publish(socket, frames, n);
    bool server = base->type == KB_SOCKET_SERVER;
    struct connection *c = server ? by_route(socket, route) : only_connection(socket);
    if (c == NULL)
        return -KB_EUNAVAILABLE;
    send_on(c, !server, MESSAGE, frames, n, false);
    if (breaks(c))
        break_soon(c, 0);
    return 0;
}

static void socket_subscribe(struct kb_socket *base, kb_str topic, bool on)
{
    struct sim_socket *socket = (struct sim_socket *)base;
    if (on)
        kb_map_put(&socket->topics, topic, socket);
    else
        kb_map_del(&socket->topics, topic);
    struct connection *c = only_connection(socket);
    if (c)
        send_on(c, true, on ? SUBSCRIBE : UNSUBSCRIBE, &topic, 1, false);
}

static void transport_destroy(struct kb_transport *base)
{
    struct transport_sim *transport = (struct transport_sim *)base;
    kb_list_remove(&transport->link);
    free(transport->host);
    free(transport);
}

/* ---- the simulation ---- */

static void sim_wait(void *user, kb_ms timeout_ms)
{
    struct kb_sim *sim = user;
    if (timeout_ms > 0)
        sim->now_ms += timeout_ms;
}

struct kb_sim *kb_sim_new(uint64_t seed)
{
    struct kb_sim *sim = calloc(1, sizeof(*sim));
    KB_ASSERT(sim != NULL);
    sim->clock = (struct kb_clock){sim_now, sim_wall};
    sim->now_ms = 1000;
    sim->loop = kb_loop_new(&sim->clock, &(struct kb_loop_wait){sim_wait, sim});
    sim->quality = (struct kb_sim_link){.delay_min_ms = 1, .delay_max_ms = 1};
    kb_rand_init(&sim->rand, seed);
    kb_list_init(&sim->transports);
    kb_list_init(&sim->pairs);
    kb_list_init(&sim->sockets);
    return sim;
}

/* Let what is in flight go: all sockets are closed, so nothing is delivered. */
static void drain(struct kb_sim *sim)
{
    struct kb_link *link;
    KB_ASSERT(kb_list_empty(&sim->sockets));
    kb_sim_run_for(sim, 3600000);
    while ((link = kb_list_pop(&sim->pairs)) != NULL) {
        struct pair *pair = KB_CONTAINER(link, struct pair, link);
        free(pair->a);
        free(pair->b);
        free(pair);
    }
}

void kb_sim_destroy(struct kb_sim **sim_p)
{
    struct kb_sim *sim = KB_STEAL(*sim_p);
    if (sim == NULL)
        return;
    drain(sim);
    while (!kb_list_empty(&sim->transports)) {
        struct kb_link *first = sim->transports.next;
        transport_destroy(&KB_CONTAINER(first, struct transport_sim, link)->base);
    }
    kb_loop_destroy(&sim->loop);
    free(sim);
}

struct kb_transport *kb_sim_transport(struct kb_sim *sim, const char *host)
{
    static const struct kb_transport_ops ops = {socket_open, socket_close, socket_send,
                                                socket_subscribe, transport_destroy};
    struct transport_sim *transport = calloc(1, sizeof(*transport));
    KB_ASSERT(transport != NULL);
    transport->base = (struct kb_transport){&ops, sim->loop, true};
    transport->sim = sim;
    transport->host = kb_strf("%s", host);
    kb_list_push(&sim->transports, &transport->link);
    return &transport->base;
}

struct kb_loop *kb_sim_loop(struct kb_sim *sim)
{
    return sim->loop;
}

struct kb_rand *kb_sim_rand(struct kb_sim *sim)
{
    return &sim->rand;
}

kb_ms kb_sim_now(const struct kb_sim *sim)
{
    return sim->now_ms;
}

void kb_sim_set_link(struct kb_sim *sim, const char *a, const char *b,
                     const struct kb_sim_link *link)
{
    if (a == NULL || b == NULL)
        sim->quality = *link;
    else
        pair_get(sim, a, b)->quality = *link;
}

void kb_sim_partition(struct kb_sim *sim, const char *a, const char *b, bool cut)
{
    struct pair *pair = pair_get(sim, a, b);
    pair->cut = cut;
    KB_LIST_EACH(it, &sim->sockets)
    {
        struct sim_socket *socket = KB_CONTAINER(it, struct sim_socket, link);
        bool binds =
            socket->base.type == KB_SOCKET_SERVER || socket->base.type == KB_SOCKET_PUBLISHER;
        struct connection *c = binds ? NULL : only_connection(socket);
        if (cut && c && is_cut(sim, c->from, c->to))
            break_soon(c, DETECT_MS);
    }
}

bool kb_sim_run_until(struct kb_sim *sim, bool (*condition)(void *user), void *user, kb_ms limit_ms)
{
    kb_ms end_ms = sim->now_ms + limit_ms;
    while (!condition(user)) {
        if (sim->now_ms >= end_ms)
            return false;
        kb_loop_pass(sim->loop, end_ms - sim->now_ms);
    }
    return true;
}

static bool never(void *user)
{
    (void)user;
    return false;
}

void kb_sim_run_for(struct kb_sim *sim, kb_ms ms)
{
    kb_sim_run_until(sim, never, NULL, ms);
}
