#include "actors/cli/cluster.h"

#include "actors/cli/plan.h"
#include "bus/actor.h"
#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/base/rand.h"
#include "bus/model/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

char *kb_cluster_path(const char *data_dir, const char *name)
{
    return kb_strf("%s/%s", data_dir, name);
}

static bool socket_answers(const char *run)
{
    KB_AUTO(kb_auto_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/kernel.sock", run);
    if (fd < 0 || n < 0 || (size_t)n >= sizeof(address.sun_path))
        return false;
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* The locks of processes in another namespace of process ids are not seen: then the socket is. */
bool kb_cluster_runs(const char *data_dir)
{
    KB_AUTO(kb_auto_free) char *run = kb_run_dir(data_dir);
    return kb_run_lock_holder(run, "guard") > 0 || kb_run_lock_holder(run, "kernel") > 0 ||
           socket_answers(run);
}

int kb_cluster_kernel(const char *data_dir)
{
    KB_AUTO(kb_auto_free) char *run = kb_run_dir(data_dir);
    int holder = kb_run_lock_holder(run, "kernel");
    return holder > 0 ? holder : socket_answers(run) ? -1 : 0;
}

bool kb_cluster_left(const char *data_dir, const struct kb_node *plan)
{
    KB_AUTO(kb_auto_free) char *run = kb_run_dir(data_dir);
    const struct kb_node *actors = kb_node_get(plan, "actors");
    bool left = false;
    for (uint32_t i = 0; actors && i < actors->count && !left; i++) {
        KB_AUTO(kb_auto_free)
        char *name = kb_str_dup(kb_node_text_at(actors->items[i].val, "name"));
        left = kb_run_lock_holder(run, name) > 0;
    }
    return left;
}

int kb_cluster_plan(const char *data_dir, struct kb_arena *a, struct kb_node **ret_plan,
                    struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_cluster_path(data_dir, "cluster.json");
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    int rc = kb_file_read(path, KB_FILE_MAX_BYTES, &text, err);
    if (rc == -KB_ENOTFOUND)
        return kb_err_set(err, KB_ENOTFOUND, "there is no cluster in %s", data_dir);
    if (rc < 0)
        return rc;
    /* The tree borrows its texts from the arena, not from `text`. */
    if (kb_json_parse(a, kb_buf_str(&text), NULL, ret_plan, err) < 0)
        return kb_err_wrap(err, "'%s'", path);
    return 0;
}

int kb_cluster_spawn(const char *data_dir, pid_t *ret_pid, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *log = kb_cluster_path(data_dir, "logs/kernel.log");
    KB_AUTO(kb_auto_close)
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    KB_AUTO(kb_auto_close) int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || in < 0)
        return kb_err_sys(err, errno, "open '%s'", log);
    pid_t pid = fork();
    if (pid < 0)
        return kb_err_sys(err, errno, "fork");
    if (pid == 0) {
        setsid();
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execl("/proc/self/exe", "kubus", "actor", "kernel", "--guard", "--data", data_dir,
              (char *)NULL);
        _exit(127);
    }
    *ret_pid = pid;
    return 0;
}

int kb_cluster_run(const char *const *argv, struct kb_err *err)
{
    pid_t pid = fork();
    if (pid < 0)
        return kb_err_sys(err, errno, "fork");
    if (pid == 0) {
        execv("/proc/self/exe", (char *const *)argv);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return kb_err_sys(err, errno, "wait for '%s %s'", argv[1], argv[2]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool port_is_free(const char *host, int port)
{
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *info = NULL;
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, &info) != 0)
        return false;
    KB_AUTO(kb_auto_close) int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = fd >= 0 && bind(fd, info->ai_addr, info->ai_addrlen) == 0;
    freeaddrinfo(info);
    return is_free;
}

/* The plan keeps the port, and a gateway that was killed comes back to it: it must not be one of
 * those that connections get. */
int kb_cluster_free_port(kb_str host)
{
    enum { FIRST = 10240, TRIES = 200 };
    char name[256];
    int last = 32768;
    struct kb_rand rand;
    KB_AUTO(kb_buf_finish) struct kb_buf range = {0};
    if (host.n > 2 && host.p[0] == '[') /* of IPv6 */
        host = kb_str_n(host.p + 1, host.n - 2);
    if (!kb_str_copy(host, name, sizeof(name)))
        return 0;
    if (kb_file_read("/proc/sys/net/ipv4/ip_local_port_range", 256, &range, NULL) == 0)
        last = atoi(range.p);
    if (last <= FIRST)
        last = 65536;
    kb_rand_init_system(&rand);
    for (int i = 0; i < TRIES; i++) {
        int port = FIRST + (int)kb_rand_below(&rand, (uint64_t)(last - FIRST));
        if (port_is_free(name, port))
            return port;
    }
    return 0;
}

/* Whether a route of this machine, but for the default one, leads into `cidr`. */
static bool cidr_routed(const char *cidr)
{
    KB_AUTO(kb_buf_finish) struct kb_buf routes = {0};
    if (kb_file_read("/proc/net/route", KB_FILE_MAX_BYTES, &routes, NULL) < 0)
        return false;
    kb_str rest = kb_buf_str(&routes);
    while (rest.p) {
        char line[256], dest_text[32], route[48];
        unsigned dest, mask;
        kb_str_copy(kb_str_cut(&rest, '\n'), line, sizeof(line));
        if (sscanf(line, "%*s %x %*s %*s %*s %*s %*s %x", &dest, &mask) != 2 || mask == 0)
            continue;
        struct in_addr address = {.s_addr = dest};
        inet_ntop(AF_INET, &address, dest_text, sizeof(dest_text));
        snprintf(route, sizeof(route), "%s/%d", dest_text, __builtin_popcount(mask));
        if (kb_plan_cidr_overlaps(route, cidr))
            return true;
    }
    return false;
}

void kb_cluster_free_cidr(char out[32])
{
    for (int second = 244; second >= 128; second--) {
        snprintf(out, 32, "10.%d.0.0/16", second);
        if (!cidr_routed(out))
            return;
    }
    snprintf(out, 32, "10.244.0.0/16");
}
