/* actor.c - the skeleton of every process: what it owns, in which order it comes and goes. */
#include "bus/impl.h"

#include "bus/base/limits.h"
#include "bus/base/log.h"
#include "bus/base/memory.h"
#include "bus/loop_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

static volatile sig_atomic_t signal_fd = -1; /* of the one actor of this process that has signals */

static void on_signal(int number)
{
    int saved = errno;
    uint64_t one = 1;
    (void)number;
    if (signal_fd >= 0 && write(signal_fd, &one, sizeof(one)) < 0) {
        /* it is rung already */
    }
    errno = saved;
}

static void on_signal_fd(void *user, int fd, uint32_t events)
{
    uint64_t count;
    (void)events;
    if (read(fd, &count, sizeof(count)) > 0)
        kb_actor_stop(user);
}

/* A handler and not a blocked mask: a mask would be inherited by the programs an actor starts. */
static void signals_start(struct kb_actor *actor)
{
    actor->signal_fd = -1;
    if (actor->transport->simulated || signal_fd >= 0)
        return;
    actor->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    KB_ASSERT(actor->signal_fd >= 0);
    actor->signal_watch =
        kb_loop_fd_add(actor->loop, actor->signal_fd, EPOLLIN, on_signal_fd, actor);
    signal_fd = actor->signal_fd;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static void signals_stop(struct kb_actor *actor)
{
    if (actor->signal_fd < 0)
        return;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal_fd = -1;
    kb_loop_fd_del(&actor->signal_watch);
    kb_auto_close(&actor->signal_fd);
}

static void on_subscription(void *user, kb_str topic, bool subscribed)
{
    struct kb_actor *actor = user;
    if (actor->on_subscription && topic.n > 0) /* "": a tap, which asks for no view */
        actor->on_subscription(actor->subscription_user, topic, subscribed);
}

static const struct kb_socket_handlers publisher_handlers = {.subscription = on_subscription};

void kb__actor_bind(struct kb_actor *actor)
{
    if (actor->server || actor->failed.code)
        return;
    KB_AUTO(kb_auto_free) char *endpoint = kb__endpoint(actor, actor->name, "sock");
    kb_socket_open(actor->transport, KB_SOCKET_SERVER, endpoint, &kb__server_handlers, actor,
                   &actor->server, &actor->failed);
}

static int publisher_start(struct kb_actor *actor, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *endpoint = kb__endpoint(actor, actor->name, "pub");
    return kb_socket_open(actor->transport, KB_SOCKET_PUBLISHER, endpoint, &publisher_handlers,
                          actor, &actor->publisher, err);
}

/* What `ps` and `top` show: else "exe", for kubusd starts /proc/self/exe. */
static void set_process_name(const char *actor)
{
    char name[16]; /* as long as Linux has it */
    snprintf(name, sizeof(name), "kubus-%s", actor);
    prctl(PR_SET_NAME, name);
}

static int actor_start(struct kb_actor *actor, const struct kb_actor_config *config,
                       struct kb_err *err)
{
    int rc = 0;
    actor->transport = config->transport;
    if (actor->transport == NULL) {
        actor->owns_transport = true;
        rc = kb_run_dir_make(actor->run_dir, err);
        if (rc == 0 && !actor->standalone)
            rc = kb_run_lock(actor->run_dir, actor->name, &actor->lock_fd, NULL, err);
        if (rc == 0)
            rc = kb_transport_zmq_new(&actor->transport, err);
    }
    if (rc < 0)
        return rc;
    actor->loop = actor->transport->loop;
    actor->started_ms = kb_clock_now(kb_loop_clock(actor->loop));
    signals_start(actor);
    if (config->publishes)
        rc = publisher_start(actor, err);
    if (rc == 0)
        kb__register_start(actor);
    return rc;
}

int kb_actor_new(const struct kb_actor_config *config, struct kb_actor **ret_actor,
                 struct kb_err *err)
{
    struct kb_err local = {0};
    struct kb_actor *actor = calloc(1, sizeof(*actor));
    KB_ASSERT(actor != NULL && config->name != NULL && config->data_dir != NULL);
    actor->magic = KB__ACTOR_MAGIC;
    if (!config->standalone) {
        kb_log_init(config->name);
        set_process_name(config->name);
    }
    actor->signal_fd = actor->lock_fd = -1;
    actor->served_max_bytes = KB_SERVED_MAX_BYTES;
    actor->name = kb_strf("%s", config->name);
    actor->data_dir = kb_strf("%s", config->data_dir);
    actor->run_dir =
        config->run_dir ? kb_strf("%s", config->run_dir) : kb_run_dir(config->data_dir);
    actor->standalone = config->standalone;
    actor->stop = config->stop;
    actor->stop_user = config->user;
    struct kb_rand rand;
    kb_rand_init_system(&rand);
    kb_rand_uuid(&rand, actor->instance);
    int rc = actor_start(actor, config, err ? err : &local);
    if (rc < 0) {
        kb_err_wrap(err, "actor '%s'", config->name);
        kb_actor_destroy(&actor);
        return rc;
    }
    *ret_actor = actor;
    return 0;
}

void kb_actor_destroy(struct kb_actor **actor_p)
{
    struct kb_actor *actor = KB_STEAL(*actor_p);
    if (actor == NULL)
        return;
    KB_CHECK_OBJ(actor, KB__ACTOR_MAGIC);
    kb_str name;
    void *value;
    if (actor->loop) {
        kb__register_stop(actor);
        kb_loop_timer_stop(actor->loop, &actor->settled_timer);
        kb__views_finish(actor);
        signals_stop(actor);
    }
    for (size_t i = 0; kb_map_next(&actor->peers, &i, &name, &value);)
        kb__peer_destroy(value);
    kb_map_finish(&actor->peers);
    kb__serve_finish(actor);
    for (size_t i = 0; kb_map_next(&actor->gauges, &i, &name, &value);)
        free(value);
    kb_map_finish(&actor->gauges);
    kb_socket_close(&actor->server);
    kb_socket_close(&actor->publisher);
    if (actor->owns_transport)
        kb_transport_destroy(&actor->transport);
    kb_buf_finish(&actor->head);
    kb_auto_close(&actor->lock_fd);
    free(actor->name);
    free(actor->data_dir);
    free(actor->run_dir);
    free(actor);
}

struct kb_loop *kb_actor_loop(struct kb_actor *actor)
{
    return actor->loop;
}

const struct kb_clock *kb_actor_clock(const struct kb_actor *actor)
{
    return kb_loop_clock(actor->loop);
}

const char *kb_actor_name(const struct kb_actor *actor)
{
    return actor->name;
}

const char *kb_actor_data_dir(const struct kb_actor *actor)
{
    return actor->data_dir;
}

static void on_settled(void *user)
{
    (void)user;
    kb_memory_give_back();
}

void kb_actor_ready(struct kb_actor *actor)
{
    if (actor->ready)
        return;
    actor->ready = true;
    if (!actor->transport->simulated) {
        actor->settled_timer = (struct kb_loop_timer){.fn = on_settled, .user = actor};
        kb_loop_timer_set(actor->loop, &actor->settled_timer, KB__SETTLED_MS);
    }
    kb__register_ready(actor);
}

int kb_actor_run(struct kb_actor *actor, struct kb_err *err)
{
    if (actor->failed.code)
        return kb_err_set(err, actor->failed.code, "actor '%s': %s", actor->name,
                          actor->failed.text);
    kb_loop_run(actor->loop, &actor->stopped);
    actor->stopped = false;
    return 0;
}

void kb_actor_stop(struct kb_actor *actor)
{
    if (actor->stopping)
        return;
    actor->stopping = true;
    kb_debug("stopping");
    if (actor->stop)
        actor->stop(actor->stop_user);
    else
        kb_actor_stopped(actor);
}

void kb_actor_stopped(struct kb_actor *actor)
{
    actor->stopped = true;
}

bool kb_actor_stopping(const struct kb_actor *actor)
{
    return actor->stopping;
}

void kb_actor_gauge(struct kb_actor *actor, const char *name, int64_t value)
{
    int64_t *gauge = kb_map_get(&actor->gauges, kb_str_of(name));
    if (gauge == NULL) {
        gauge = malloc(sizeof(*gauge));
        KB_ASSERT(gauge != NULL);
        kb_map_put(&actor->gauges, kb_str_of(name), gauge);
    }
    *gauge = value;
}

void kb_actor_publish(struct kb_actor *actor, kb_str topic, kb_val header, kb_val body)
{
    KB_ASSERT(actor->publisher != NULL);
    kb_str frames[3] = {topic, kb_str_n((const char *)header.p, kb_val_size(header))};
    size_t n = 2;
    if (body.p)
        frames[n++] = kb_str_n((const char *)body.p, kb_val_size(body));
    kb_socket_send(actor->publisher, kb_str_n(NULL, 0), frames, n);
}

void kb_actor_on_subscription(struct kb_actor *actor, kb_subscription_fn *fn, void *user)
{
    actor->on_subscription = fn;
    actor->subscription_user = user;
}
