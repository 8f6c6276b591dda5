#include "agent/net/ipam.h"
#include "agent/files.h"
#include "bus/base/file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

int kb_cidr_parse(const char *text, uint32_t *ret_network, int *ret_prefix, struct kb_err *err)
{
    char address[32];
    struct in_addr in;
    int64_t prefix;
    kb_str rest = kb_str_of(text);
    kb_str head = kb_str_cut(&rest, '/');
    if (!kb_str_copy(head, address, sizeof address) || inet_pton(AF_INET, address, &in) != 1 ||
        !kb_str_i64(rest, &prefix) || prefix < 1 || prefix > 30)
        return kb_err_set(err, KB_EINVAL, "'%s' is no IPv4 range of /1 to /30", text);
    *ret_network = ntohl(in.s_addr) & ~(UINT32_MAX >> prefix);
    *ret_prefix = (int)prefix;
    return 0;
}

void kb_ip_format(uint32_t ip, char out[KB_IP_BYTES])
{
    snprintf(out, KB_IP_BYTES, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static void closedir_auto(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
}

/* Call for each address file of `owner`; the first one's address in *ret. Removes with `remove`. */
static bool each_of(const char *dir_path, const char *owner, bool remove, uint32_t *ret_ip)
{
    KB_AUTO(closedir_auto) DIR *dir = opendir(dir_path);
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    struct in_addr in;
    bool found = false;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (inet_pton(AF_INET, entry->d_name, &in) != 1)
            continue;
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir_path, entry->d_name);
        if (!kb_str_is(kb_get_file(path, &buf), owner))
            continue;
        found = true;
        if (ret_ip != NULL)
            *ret_ip = ntohl(in.s_addr);
        if (remove)
            unlink(path);
    }
    return found;
}

/* The folder's lock, held until closed. */
static int lock_dir(const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/lock", dir);
    if (kb_dir_make(dir, 0755, err) < 0)
        return -KB_EIO;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return kb_err_sys(err, errno, "open '%s'", path);
    while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    return fd;
}

static uint32_t last_given(const char *path)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    uint64_t n = 0;
    return kb_str_u64(kb_get_file(path, &buf), &n) ? (uint32_t)n : 0;
}

int kb_ipam_take(const char *dir, const char *cidr, const char *owner, uint32_t *ret_ip,
                 struct kb_err *err)
{
    uint32_t network, ip;
    int prefix;
    char text[KB_IP_BYTES], number[16];
    if (kb_cidr_parse(cidr, &network, &prefix, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_close) int lock = lock_dir(dir, err);
    if (lock < 0)
        return kb_err_wrap(err, "addresses");
    if (each_of(dir, owner, false, &ip) && (ip & ~(UINT32_MAX >> prefix)) == network) {
        *ret_ip = ip;
        return 0;
    }
    /* Host parts 0 (network), 1 (bridge) and all ones (broadcast) are not given. */
    uint32_t hosts = (UINT32_MAX >> prefix) - 2;
    KB_AUTO(kb_auto_free) char *last_path = kb_strf("%s/last", dir);
    uint32_t from = last_given(last_path);
    for (uint32_t i = 0; i < hosts; i++) {
        uint32_t at = (from + i) % hosts;
        kb_ip_format(network + 2 + at, text);
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir, text);
        if (kb_path_exists(path))
            continue;
        snprintf(number, sizeof number, "%u", at + 1);
        if (kb_put_file(path, kb_str_of(owner), 0644, err) < 0 ||
            kb_put_file(last_path, kb_str_of(number), 0644, err) < 0)
            return kb_err_wrap(err, "addresses");
        *ret_ip = network + 2 + at;
        return 0;
    }
    return kb_err_set(err, KB_EFULL, "no address is free in %s", cidr);
}

int kb_ipam_give(const char *dir, const char *owner, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int lock = lock_dir(dir, err);
    if (lock < 0)
        return kb_err_wrap(err, "addresses");
    each_of(dir, owner, true, NULL);
    return 0;
}
