/* cni.c - running CNI plugins, as the specification 1.0 (and the 0.x that plugins still speak)
 * says: the configuration on standard input, the task in the environment, the result on standard
 * output.
 *
 * A chain (.conflist) runs forward for ADD, each plugin getting the result of the one before as
 * prevResult, and backward for DEL. The last result of ADD is kept beside the addresses, for DEL
 * wants it back, maybe after a restart. */
#include "agent/files.h"
#include "agent/job.h"
#include "agent/net/podnet.h"
#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/model/json.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { PLUGINS_MAX = 16 };

struct chain {
    struct kb_arena arena;
    struct kb_node *conf; /* the whole file */
    struct kb_node *plugins[PLUGINS_MAX];
    size_t n;
};

static void chain_finish(struct chain *chain)
{
    kb_arena_finish(&chain->arena);
}

static int is_conf(const struct dirent *entry)
{
    kb_str name = kb_str_of(entry->d_name);
    return kb_str_ends(name, ".conf") || kb_str_ends(name, ".conflist") ||
           kb_str_ends(name, ".json");
}

/* The first configuration file in order of name, as container runtimes choose it. Caller frees. */
static char *first_conf(const char *dir)
{
    struct dirent **list = NULL;
    char *path = NULL;
    int n = scandir(dir, &list, is_conf, alphasort);
    for (int i = 0; i < n; i++) {
        if (path == NULL)
            path = kb_strf("%s/%s", dir, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return path;
}

static int chain_load(const char *dir, struct chain *chain, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_auto_free) char *path = first_conf(dir);
    if (path == NULL)
        return kb_err_set(err, KB_EUNAVAILABLE, "no CNI configuration in '%s'", dir);
    if (kb_file_read(path, KB_FILE_MAX_BYTES, &text, err) < 0 ||
        kb_json_parse(&chain->arena, kb_buf_str(&text), NULL, &chain->conf, err) < 0)
        return kb_err_wrap(err, "CNI configuration '%s'", path);
    const struct kb_node *list = kb_node_get(chain->conf, "plugins");
    if (list == NULL || list->type != KB_ARRAY) {
        chain->plugins[chain->n++] = chain->conf;
        return 0;
    }
    for (uint32_t i = 0; i < list->count && i < PLUGINS_MAX; i++)
        chain->plugins[chain->n++] = list->items[i].val;
    return 0;
}

/* The plugin's program in the search path. Caller frees; NULL: not there. */
static char *find_plugin(const struct kb_podnet *net, kb_str type)
{
    kb_str rest = kb_str_of(net->cni_bin ? net->cni_bin : "/opt/cni/bin:/usr/lib/cni");
    while (rest.p != NULL) {
        kb_str dir = kb_str_cut(&rest, ':');
        char *path = kb_strf(KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(dir), KB_STR_ARG(type));
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* What a plugin failed with stands in its output: {"code", "msg", "details"}. */
static int plugin_error(struct kb_buf *out, kb_str type, struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *node = NULL;
    if (kb_json_parse(&arena, kb_buf_str(out), NULL, &node, NULL) < 0)
        return kb_err_wrap(err, "plugin type=\"" KB_STR_FMT "\"", KB_STR_ARG(type));
    kb_str msg = kb_node_text(kb_node_get(node, "msg"));
    return kb_err_set(err, KB_EINTERNAL, "plugin type=\"" KB_STR_FMT "\" failed: " KB_STR_FMT,
                      KB_STR_ARG(type), KB_STR_ARG(msg));
}

static int run_plugin(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                      const char *command, struct chain *chain, size_t at, struct kb_node *prev,
                      struct kb_buf *out, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf input = {0};
    struct kb_node *plugin = chain->plugins[at];
    kb_str type = kb_node_text(kb_node_get(plugin, "type"));
    KB_AUTO(kb_auto_free) char *program = find_plugin(net, type);
    if (program == NULL)
        return kb_err_set(err, KB_EUNAVAILABLE, "CNI plugin '" KB_STR_FMT "' is not installed",
                          KB_STR_ARG(type));
    struct kb_node *conf = kb_node_copy(&chain->arena, plugin);
    static const char *const common[] = {"name", "cniVersion"};
    for (size_t i = 0; i < KB_COUNT(common); i++)
        if (kb_node_get(chain->conf, common[i]) != NULL)
            kb_node_put(&chain->arena, conf, common[i], kb_node_get(chain->conf, common[i]));
    if (prev != NULL)
        kb_node_put(&chain->arena, conf, "prevResult", prev);
    kb_json_write_node(&input, conf, 0);

    KB_AUTO(kb_auto_free) char *task = kb_strf("CNI_COMMAND=%s", command);
    KB_AUTO(kb_auto_free) char *id = kb_strf("CNI_CONTAINERID=%s", pod->uid);
    KB_AUTO(kb_auto_free) char *netns = kb_strf("CNI_NETNS=%s", pod->netns ? pod->netns : "");
    KB_AUTO(kb_auto_free)
    char *bin = kb_strf("CNI_PATH=%s", net->cni_bin ? net->cni_bin : "/opt/cni/bin:/usr/lib/cni");
    KB_AUTO(kb_auto_free)
    char *args = kb_strf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;"
                         "K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%s",
                         pod->ns ? pod->ns : "", pod->name ? pod->name : "", pod->uid, pod->uid);
    char ifname[] = "CNI_IFNAME=eth0", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char *env[] = {task, id, netns, bin, args, ifname, path, NULL};
    const char *argv[] = {program, NULL};
    if (kb_spawn_env(argv, env, kb_buf_str(&input), out, NULL, err) < 0)
        return plugin_error(out, type, err);
    return 0;
}

/* "10.1.2.3/24" without its prefix; false when it is no IPv4 address. */
static bool take_ip(kb_str text, char ret_ip[KB_IP_BYTES])
{
    char address[KB_IP_BYTES];
    struct in_addr in;
    if (!kb_str_copy(kb_str_cut(&text, '/'), address, sizeof address) ||
        inet_pton(AF_INET, address, &in) != 1)
        return false;
    memcpy(ret_ip, address, sizeof address);
    return true;
}

bool kb__cni_result_ip(const struct kb_node *result, char ret_ip[KB_IP_BYTES])
{
    const struct kb_node *ips = kb_node_get(result, "ips");
    for (uint32_t i = 0; ips != NULL && ips->type == KB_ARRAY && i < ips->count; i++)
        if (take_ip(kb_node_text(kb_node_get(ips->items[i].val, "address")), ret_ip))
            return true;
    return take_ip(kb_node_text_at(result, "ip4.ip"), ret_ip);
}

static char *result_path(const struct kb_podnet *net, const char *uid)
{
    return kb_strf("%s/cni-%s.json", net->ipam_dir, uid);
}

int kb__cni_add(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                char ret_ip[KB_IP_BYTES], struct kb_err *err)
{
    KB_AUTO(chain_finish) struct chain chain = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_node *result = NULL;
    if (chain_load(net->cni_dir, &chain, err) < 0 || kb_dir_make(net->ipam_dir, 0755, err) < 0)
        return -err->code;
    for (size_t i = 0; i < chain.n; i++) {
        kb_buf_clear(&out);
        if (run_plugin(net, pod, "ADD", &chain, i, result, &out, err) < 0 ||
            kb_json_parse(&chain.arena, kb_buf_str(&out), NULL, &result, err) < 0)
            return kb_err_wrap(err, "failed to set up pod network");
    }
    KB_AUTO(kb_auto_free) char *path = result_path(net, pod->uid);
    if (kb_put_file(path, kb_buf_str(&out), 0644, err) < 0)
        return -err->code;
    if (!kb__cni_result_ip(result, ret_ip))
        return kb_err_set(err, KB_EINTERNAL, "the CNI result has no IPv4 address");
    return 0;
}

int kb__cni_del(const struct kb_podnet *net, const struct kb_podnet_pod *pod, struct kb_err *err)
{
    KB_AUTO(chain_finish) struct chain chain = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0}, last = {0};
    struct kb_node *prev = NULL;
    if (chain_load(net->cni_dir, &chain, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_free) char *path = result_path(net, pod->uid);
    if (kb_get_file(path, &last).n > 0)
        (void)kb_json_parse(&chain.arena, kb_buf_str(&last), NULL, &prev, NULL);
    for (size_t i = chain.n; i-- > 0;) {
        kb_buf_clear(&out);
        /* Once more after a failure: DEL after a half-done ADD fails with some plugins. */
        if (run_plugin(net, pod, "DEL", &chain, i, prev, &out, err) < 0 &&
            run_plugin(net, pod, "DEL", &chain, i, prev, &out, err) < 0)
            return kb_err_wrap(err, "failed to tear down pod network");
    }
    unlink(path);
    return 0;
}
