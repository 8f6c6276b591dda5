#include "agent/sandbox.h"
#include "agent/files.h"
#include "agent/job.h"
#include "agent/net/netlink.h"
#include "bus/base/check.h"
#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int put_in(const char *dir, const char *name, kb_str text, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir, name);
    return kb_put_file(path, text, 0644, err);
}

bool kb_sandbox_find(const char *dir, char ret_ip[KB_IP_BYTES], bool *ret_host_network)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/info", dir);
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_str text = kb_get_file(path, &buf);
    if (text.n == 0)
        return false;
    *ret_host_network = kb_str_is(kb_line_value(text, "host_network"), "1");
    return kb_str_copy(kb_line_value(text, "ip"), ret_ip, KB_IP_BYTES);
}

/* Bind one of our own namespaces onto DIR/NAME. */
static int pin(const char *dir, const char *name, const char *proc_path, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir, name);
    int fd = open(path, O_CREAT | O_CLOEXEC | O_RDONLY, 0444);
    kb_auto_close(&fd);
    if (mount(proc_path, path, NULL, MS_BIND, NULL) < 0)
        return kb_err_sys(err, errno, "pin %s namespace", name);
    return 0;
}

static int lo_up(struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    return nl < 0 ? -err->code : kb_nl_up(nl, kb_nl_index(nl, "lo"), err);
}

/* "net.core.somaxconn=1024" into /proc/sys/net/core/somaxconn. */
static int set_sysctl(const char *setting, struct kb_err *err)
{
    kb_str value = kb_str_of(setting);
    kb_str name = kb_str_cut(&value, '=');
    KB_AUTO(kb_auto_free)
    char *path = kb_strf("/proc/sys/" KB_STR_FMT, KB_STR_ARG(name));
    KB_AUTO(kb_auto_free) char *text = kb_str_dup(value);
    for (char *at = path + strlen("/proc/sys/"); *at; at++)
        if (*at == '.')
            *at = '/';
    if (strstr(path, "..") != NULL)
        return kb_err_set(err, KB_EINVAL, "sysctl '%s'", setting);
    return kb_poke_file(path, text, err);
}

/* New namespaces for this process, pinned; then back into the node's network, for what follows
 * is done from there. */
static int make_namespaces(const char *dir, const struct kb_rt_sandbox_spec *spec,
                           struct kb_err *err)
{
    int flags = (spec->host_network ? 0 : CLONE_NEWNET | CLONE_NEWUTS) |
                (spec->host_ipc ? 0 : CLONE_NEWIPC);
    KB_AUTO(kb_auto_close) int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (flags != 0 && unshare(flags) < 0)
        return kb_err_sys(err, errno, "make namespaces");
    if (!spec->host_network) {
        if (sethostname(spec->hostname, strlen(spec->hostname)) < 0)
            return kb_err_sys(err, errno, "set the pod's host name");
        if (pin(dir, "net", "/proc/self/ns/net", err) < 0 ||
            pin(dir, "uts", "/proc/self/ns/uts", err) < 0 || lo_up(err) < 0)
            return -err->code;
    }
    if (!spec->host_ipc && pin(dir, "ipc", "/proc/self/ns/ipc", err) < 0)
        return -err->code;
    for (const char *const *it = spec->sysctls; it != NULL && *it != NULL; it++)
        if (set_sysctl(*it, err) < 0)
            return kb_err_wrap(err, "sysctl");
    if (!spec->host_network && setns(own, CLONE_NEWNET) < 0)
        return kb_err_sys(err, errno, "return to the node's network");
    return 0;
}

/* Process 1 of the PID namespace that the containers will share, and the pin of it. */
static int make_pause(const char *dir, const char *shim, pid_t *ret_pid, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own < 0 || unshare(CLONE_NEWPID) < 0)
        return kb_err_sys(err, errno, "make a PID namespace");
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        (void)!chdir("/");
        int null = open("/dev/null", O_RDWR);
        for (int i = 0; i < 3; i++)
            dup2(null, i);
        syscall(SYS_close_range, 3, ~0U, 0);
        execl(shim, "kubus-pause", "pause", (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || setns(own, CLONE_NEWPID) < 0)
        return kb_err_sys(err, errno, "start the pod's process 1");
    KB_AUTO(kb_auto_free) char *path = kb_strf("/proc/%d/ns/pid", (int)pid);
    *ret_pid = pid;
    return pin(dir, "pid", path, err);
}

static int make_shm(const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/shm", dir);
    if (kb_dir_make(path, 01777, err) < 0)
        return -err->code;
    if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=67108864") <
        0)
        return kb_err_sys(err, errno, "mount the pod's /dev/shm");
    return 0;
}

static void write_hosts(struct kb_buf *out, const struct kb_rt_sandbox_spec *spec, const char *ip)
{
    if (spec->host_network) {
        KB_AUTO(kb_buf_finish) struct kb_buf own = {0};
        kb_buf_puts(out, "# Kubernetes-managed hosts file (host network).\n");
        kb_buf_add_str(out, kb_get_file("/etc/hosts", &own));
    } else {
        kb_buf_puts(out, "# Kubernetes-managed hosts file.\n"
                         "127.0.0.1\tlocalhost\n"
                         "::1\tlocalhost ip6-localhost ip6-loopback\n"
                         "fe00::0\tip6-localnet\n"
                         "fe00::0\tip6-mcastprefix\n"
                         "fe00::1\tip6-allnodes\n"
                         "fe00::2\tip6-allrouters\n");
        kb_buf_printf(out, "%s\t%s%s%s\n", ip, spec->full_name ? spec->full_name : "",
                      spec->full_name ? "\t" : "", spec->hostname);
    }
    if (spec->hosts_extra != NULL)
        kb_buf_puts(out, spec->hosts_extra);
}

static int make_files(const char *dir, const struct kb_rt_sandbox_spec *spec, const char *ip,
                      struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf hosts = {0}, name = {0};
    write_hosts(&hosts, spec, ip);
    kb_buf_printf(&name, "%s\n", spec->hostname);
    if (put_in(dir, "hosts", kb_buf_str(&hosts), err) < 0 ||
        put_in(dir, "hostname", kb_buf_str(&name), err) < 0)
        return -err->code;
    if (spec->resolv_conf != NULL)
        return put_in(dir, "resolv.conf", kb_str_of(spec->resolv_conf), err);
    return 0;
}

int kb_sandbox_make(const char *dir, const struct kb_rt_sandbox_spec *spec,
                    const struct kb_podnet *net, const char *shim, char ret_ip[KB_IP_BYTES],
                    struct kb_err *err)
{
    bool host;
    pid_t pause_pid = 0;
    KB_AUTO(kb_buf_finish) struct kb_buf info = {0};
    KB_AUTO(kb_auto_free) char *netns = kb_strf("%s/net", dir);
    struct kb_podnet_pod pod = {spec->uid, spec->ns, spec->name, netns};

    if (kb_sandbox_find(dir, ret_ip, &host))
        return 0;
    if (kb_path_exists(dir))
        kb_sandbox_remove(dir, spec->uid, net, NULL);
    if (kb_dir_make(dir, 0755, err) < 0 || make_namespaces(dir, spec, err) < 0)
        return kb_err_wrap(err, "sandbox");
    ret_ip[0] = '\0';
    if (!spec->host_network && kb_podnet_attach(net, &pod, ret_ip, err) < 0)
        return kb_err_wrap(err, "sandbox");
    if (!spec->host_ipc && make_shm(dir, err) < 0)
        return kb_err_wrap(err, "sandbox");
    if (spec->share_pid && !spec->host_pid && make_pause(dir, shim, &pause_pid, err) < 0)
        return kb_err_wrap(err, "sandbox");
    if (make_files(dir, spec, ret_ip, err) < 0)
        return kb_err_wrap(err, "sandbox");
    kb_buf_printf(&info, "ip=%s\nhost_network=%d\npause=%d\nns=%s\nname=%s\n", ret_ip,
                  spec->host_network, (int)pause_pid, spec->ns, spec->name);
    return put_in(dir, "info", kb_buf_str(&info), err); /* last: now it is whole */
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* Undo the octal escapes of mountinfo in place. */
static void unescape(char *path)
{
    char *to = path;
    for (char *at = path; *at; at++) {
        if (at[0] == '\\' && is_octal(at[1]) && is_octal(at[2]) && is_octal(at[3])) {
            *to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
            at += 3;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
}

char *kb__mount_point(kb_str line)
{
    for (int i = 0; i < 4; i++)
        kb_str_cut(&line, ' ');
    char *path = kb_str_dup(kb_str_cut(&line, ' '));
    unescape(path);
    return path;
}

void kb_unmount_below(const char *dir)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL, **points = NULL;
    size_t cap = 0, n = 0, room = 0, dir_n = strlen(dir);
    while (file != NULL && getline(&line, &cap, file) > 0) {
        char *path = kb__mount_point(kb_str_of(line));
        if (strncmp(path, dir, dir_n) != 0 || (path[dir_n] != '/' && path[dir_n] != '\0')) {
            free(path);
            continue;
        }
        if (n == room) {
            points = realloc(points, (room = room * 2 + 16) * sizeof *points);
            KB_ASSERT(points != NULL);
        }
        points[n++] = path;
    }
    while (n-- > 0) { /* the last mounted first */
        umount2(points[n], MNT_DETACH | UMOUNT_NOFOLLOW);
        free(points[n]);
    }
    free(points);
    free(line);
    if (file != NULL)
        fclose(file);
}

/* Kill process 1 of the shared PID namespace, if the pid is still that of our pause program. */
static void kill_pause(const char *dir)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/info", dir);
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0}, cmdline = {0};
    int64_t pid = 0;
    if (!kb_str_i64(kb_line_value(kb_get_file(path, &buf), "pause"), &pid) || pid <= 1)
        return;
    KB_AUTO(kb_auto_free) char *proc = kb_strf("/proc/%d/cmdline", (int)pid);
    if (kb_str_starts(kb_get_file(proc, &cmdline), "kubus-pause"))
        kill((pid_t)pid, SIGKILL);
}

int kb_sandbox_remove(const char *dir, const char *uid, const struct kb_podnet *net,
                      struct kb_err *err)
{
    char ip[KB_IP_BYTES];
    bool host = false;
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/info", dir);
    KB_AUTO(kb_auto_free) char *netns = kb_strf("%s/net", dir);
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_str info = kb_get_file(path, &buf);
    KB_AUTO(kb_auto_free) char *ns = kb_str_dup(kb_line_value(info, "ns"));
    KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_line_value(info, "name"));
    struct kb_podnet_pod pod = {uid, ns, name, kb_path_exists(netns) ? netns : NULL};

    (void)kb_sandbox_find(dir, ip, &host);
    kill_pause(dir);
    if (net != NULL && !host && kb_podnet_detach(net, &pod, err) < 0)
        return kb_err_wrap(err, "sandbox");
    kb_unmount_below(dir);
    return kb_dir_remove(dir, err);
}
