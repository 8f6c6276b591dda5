#include "actors/cli/kubeconfig.h"

#include "bus/base/base64.h"
#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/model/yaml.h"

#include <stdio.h>
#include <stdlib.h>

/* The entry called `name` of a kubeconfig's list, its `part` member. */
static const struct kb_node *entry_of(const struct kb_node *config, const char *list, kb_str name,
                                      const char *part)
{
    const struct kb_node *entries = kb_node_get(config, list);
    for (uint32_t i = 0; entries && entries->type == KB_ARRAY && i < entries->count; i++)
        if (kb_str_eq(kb_node_text_at(entries->items[i].val, "name"), name))
            return kb_node_get(entries->items[i].val, part);
    return NULL;
}

/* What `NAME-data` holds in base64, or the path that `NAME` is. */
static int take_pem(const struct kb_node *entry, const char *name, struct kb_buf *pem, char **file,
                    struct kb_err *err)
{
    char key[64];
    snprintf(key, sizeof(key), "%s-data", name);
    kb_str data = kb_node_text(kb_node_get(entry, key));
    kb_str path = kb_node_text(kb_node_get(entry, name));
    if (data.n == 0 && path.n == 0)
        return kb_err_set(err, KB_EINVAL, "kubeconfig has no %s", name);
    if (data.n == 0)
        *file = kb_str_dup(path);
    else if (kb_base64_decode(data, pem) < 0)
        return kb_err_set(err, KB_EINVAL, "kubeconfig: %s is not base64", key);
    return 0;
}

int kb_kubeconfig_parse(kb_str text, struct kb_kubeconfig *ret, struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *docs = NULL;
    *ret = (struct kb_kubeconfig){0};
    if (kb_yaml_parse(&a, text, NULL, &docs, err) < 0)
        return -err->code;
    const struct kb_node *config = docs->count > 0 ? docs->items[0].val : NULL;
    const struct kb_node *context =
        entry_of(config, "contexts", kb_node_text_at(config, "current-context"), "context");
    const struct kb_node *cluster =
        entry_of(config, "clusters", kb_node_text_at(context, "cluster"), "cluster");
    const struct kb_node *user =
        entry_of(config, "users", kb_node_text_at(context, "user"), "user");
    if (cluster == NULL || user == NULL)
        return kb_err_set(err, KB_EINVAL, "kubeconfig has no usable current-context");
    ret->server = kb_str_dup(kb_node_text_at(cluster, "server"));
    ret->ns = kb_str_dup(kb_node_text_at(context, "namespace"));
    if (take_pem(cluster, "certificate-authority", &ret->ca, &ret->ca_file, err) < 0 ||
        take_pem(user, "client-certificate", &ret->cert, &ret->cert_file, err) < 0)
        return -err->code;
    return take_pem(user, "client-key", &ret->key, &ret->key_file, err);
}

static int read_pem(const char *config, const char *file, struct kb_buf *pem, struct kb_err *err)
{
    const char *slash = strrchr(config, '/');
    bool beside = file != NULL && file[0] != '/' && slash != NULL;
    KB_AUTO(kb_auto_free)
    char *path = beside ? kb_strf("%.*s/%s", (int)(slash - config), config, file) : NULL;
    return file == NULL ? 0 : kb_file_read(path ? path : file, KB_FILE_MAX_BYTES, pem, err);
}

int kb_kubeconfig_load(const char *path, struct kb_kubeconfig *ret, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    *ret = (struct kb_kubeconfig){0};
    if (kb_file_read(path, KB_FILE_MAX_BYTES, &text, err) < 0 ||
        kb_kubeconfig_parse(kb_buf_str(&text), ret, err) < 0 ||
        read_pem(path, ret->ca_file, &ret->ca, err) < 0 ||
        read_pem(path, ret->cert_file, &ret->cert, err) < 0 ||
        read_pem(path, ret->key_file, &ret->key, err) < 0)
        return kb_err_wrap(err, "'%s'", path);
    return 0;
}

void kb_kubeconfig_finish(struct kb_kubeconfig *config)
{
    kb_buf_finish(&config->ca);
    kb_buf_finish(&config->cert);
    kb_buf_finish(&config->key);
    free(config->server);
    free(config->ns);
    free(config->ca_file);
    free(config->cert_file);
    free(config->key_file);
    *config = (struct kb_kubeconfig){0};
}
