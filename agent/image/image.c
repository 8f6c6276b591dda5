/* image.c - reading the store of images: references, manifests, configurations. */
#include "agent/image/image.h"
#include "agent/files.h"
#include "bus/base/file.h"
#include "bus/model/json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#elif defined(__riscv)
#define ARCHITECTURE "riscv64"
#else
#define ARCHITECTURE "unknown"
#endif

enum { BLOB_MAX_BYTES = 8 << 20 };

void kb_image_finish(struct kb_image *image)
{
    kb_arena_finish(&image->arena);
    memset(image, 0, sizeof *image);
}

/* A registry is what stands before the first slash if it has a dot or a port or is localhost. */
static bool has_registry(kb_str ref)
{
    kb_str rest = ref;
    kb_str head = kb_str_cut(&rest, '/');
    return rest.p != NULL &&
           (kb_str_has(head, '.') || kb_str_has(head, ':') || kb_str_is(head, "localhost"));
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool valid_bytes(kb_str ref)
{
    for (size_t i = 0; i < ref.n; i++)
        if (!is_word(ref.p[i]) && strchr("._-/:@+", ref.p[i]) == NULL)
            return false;
    return ref.n > 0 && is_word(ref.p[0]) && ref.p[ref.n - 1] != '/';
}

bool kb_image_normalize(const char *ref, char out[KB_IMAGE_NAME_BYTES])
{
    kb_str in = kb_str_of(ref);
    const char *slash, *at, *colon;
    out[0] = '\0';
    if (!valid_bytes(in) || in.n > KB_IMAGE_NAME_BYTES - 64)
        return false;
    bool full = has_registry(in);
    slash = strrchr(ref, '/');
    at = strchr(ref, '@');
    colon = strchr(slash ? slash : ref, ':');
    bool tagged = colon != NULL && (at == NULL || colon < at);
    /* With a digest the tag is of no meaning. */
    int name_n = (int)(at == NULL ? in.n : tagged ? (size_t)(colon - ref) : (size_t)(at - ref));
    snprintf(out, KB_IMAGE_NAME_BYTES, "%s%.*s%s%s",
             full    ? ""
             : slash ? "docker.io/"
                     : "docker.io/library/",
             name_n, ref, at == NULL && !tagged ? ":latest" : "", at ? at : "");
    for (const char *p = ref; p < ref + name_n && (colon == NULL || p < colon); p++)
        if (*p >= 'A' && *p <= 'Z' && (!full || p > strchr(ref, '/')))
            out[0] = '\0'; /* repositories are lower case */
    return out[0] != '\0';
}

/* "DIR/refs/…" of a normalized name. Caller frees. */
static char *ref_path(const char *dir, const char *name)
{
    char *path = kb_strf("%s/refs/%s", dir, name);
    for (char *at = path + strlen(dir) + strlen("/refs/"); *at; at++)
        if (*at == '/')
            *at = '~';
    return path;
}

bool kb_image_present(const char *dir, const char *ref)
{
    char name[KB_IMAGE_NAME_BYTES];
    if (!kb_image_normalize(ref, name))
        return false;
    KB_AUTO(kb_auto_free) char *path = ref_path(dir, name);
    return access(path, R_OK) == 0;
}

bool kb_image_is_local(const char *dir, const char *ref)
{
    char name[KB_IMAGE_NAME_BYTES];
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    if (!kb_image_normalize(ref, name))
        return false;
    KB_AUTO(kb_auto_free) char *path = ref_path(dir, name);
    return kb_str_ends(kb_get_file(path, &buf), " local");
}

int kb__image_digest(kb_str digest, kb_str *ret_hex, struct kb_err *err)
{
    kb_str hex = {0};
    if (kb_str_starts(digest, "sha256:"))
        hex = kb_str_n(digest.p + 7, digest.n - 7);
    bool good = hex.n == 64;
    for (size_t i = 0; good && i < hex.n; i++)
        good = (hex.p[i] >= '0' && hex.p[i] <= '9') || (hex.p[i] >= 'a' && hex.p[i] <= 'f');
    if (!good)
        return kb_err_set(err, KB_EINVAL, "'" KB_STR_FMT "' is no sha256 digest",
                          KB_STR_ARG(digest));
    *ret_hex = hex;
    return 0;
}

static int read_json_blob(const char *dir, kb_str digest, struct kb_arena *arena,
                          struct kb_node **ret, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_str hex;
    if (kb__image_digest(digest, &hex, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/blobs/sha256/" KB_STR_FMT, dir, KB_STR_ARG(hex));
    if (kb_file_read(path, BLOB_MAX_BYTES, &text, err) < 0)
        return -err->code;
    return kb_json_parse(arena, kb_buf_str(&text), NULL, ret, err);
}

kb_str kb__image_choose(const struct kb_node *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct kb_node *it = list->items[i].val;
        if (kb_str_is(kb_node_text_at(it, "platform.architecture"), ARCHITECTURE))
            return kb_node_text_at(it, "digest");
    }
    return list->count > 0 ? kb_node_text_at(list->items[0].val, "digest") : (kb_str){0};
}

/* NULL-terminated texts of an array of strings; empty for anything else. */
static const char **texts(struct kb_arena *arena, const struct kb_node *list)
{
    size_t n = list != NULL && list->type == KB_ARRAY ? list->count : 0;
    const char **out = kb_arena_alloc(arena, (n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = kb_arena_str(arena, kb_node_text(list->items[i].val)).p;
    out[n] = NULL;
    return out;
}

/* A digest becomes part of a path and of overlay's options: nothing but hexadecimal digits may. */
static int take_layers(const char *dir, const struct kb_node *manifest, struct kb_image *image,
                       struct kb_err *err)
{
    const struct kb_node *layers = kb_node_get(manifest, "layers");
    size_t n = layers != NULL && layers->type == KB_ARRAY ? layers->count : 0;
    image->layers = kb_arena_alloc(&image->arena, (n + 1) * sizeof *image->layers);
    image->n_layers = n;
    for (size_t i = 0; i < n; i++) {
        const struct kb_node *layer = layers->items[n - 1 - i].val;
        int64_t size = kb_node_num(kb_node_get(layer, "size"), 0);
        kb_str hex;
        if (kb__image_digest(kb_node_text(kb_node_get(layer, "digest")), &hex, err) < 0)
            return kb_err_wrap(err, "layer");
        image->layers[i] =
            kb_arena_printf(&image->arena, "%s/layers/" KB_STR_FMT, dir, KB_STR_ARG(hex)).p;
        image->size_bytes += size > 0 ? (uint64_t)size : 0;
    }
    return 0;
}

int kb__image_take(const char *dir, const struct kb_node *manifest, const struct kb_node *config,
                   struct kb_image *image, struct kb_err *err)
{
    if (take_layers(dir, manifest, image, err) < 0)
        return -err->code;
    image->entrypoint = texts(&image->arena, kb_node_at(config, "config.Entrypoint"));
    image->cmd = texts(&image->arena, kb_node_at(config, "config.Cmd"));
    image->env = texts(&image->arena, kb_node_at(config, "config.Env"));
    image->user = kb_arena_str(&image->arena, kb_node_text_at(config, "config.User")).p;
    image->cwd = kb_arena_str(&image->arena, kb_node_text_at(config, "config.WorkingDir")).p;
    return 0;
}

int kb_image_open(const char *dir, const char *ref, struct kb_image *ret_image, struct kb_err *err)
{
    char name[KB_IMAGE_NAME_BYTES];
    KB_AUTO(kb_image_finish) struct kb_image image = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    struct kb_node *manifest = NULL, *config = NULL;
    if (!kb_image_normalize(ref, name))
        return kb_err_set(err, KB_EINVAL,
                          "couldn't parse image name \"%s\": invalid reference format", ref);
    KB_AUTO(kb_auto_free) char *path = ref_path(dir, name);
    kb_str rest = kb_get_file(path, &buf);
    kb_str digest = kb_str_cut(&rest, ' ');
    if (digest.n == 0)
        return kb_err_set(err, KB_ENOTFOUND, "image \"%s\" is not present", ref);
    if (read_json_blob(dir, digest, &image.arena, &manifest, err) < 0)
        return kb_err_wrap(err, "image \"%s\"", ref);
    const struct kb_node *index = kb_node_get(manifest, "manifests");
    if (index != NULL && index->type == KB_ARRAY &&
        read_json_blob(dir, kb__image_choose(index), &image.arena, &manifest, err) < 0)
        return kb_err_wrap(err, "image \"%s\"", ref);
    if (read_json_blob(dir, kb_node_text_at(manifest, "config.digest"), &image.arena, &config,
                       err) < 0)
        return kb_err_wrap(err, "image \"%s\"", ref);

    kb_str bare = kb_str_of(name);
    size_t at = strcspn(name, "@");
    const char *slash = strrchr(name, '/'), *colon = strchr(slash ? slash : name, ':');
    bare.n = at < bare.n ? at : colon != NULL ? (size_t)(colon - name) : bare.n;
    image.name = kb_arena_str(&image.arena, kb_str_of(name)).p;
    image.id = kb_arena_printf(&image.arena, KB_STR_FMT "@" KB_STR_FMT, KB_STR_ARG(bare),
                               KB_STR_ARG(digest))
                   .p;
    if (kb__image_take(dir, manifest, config, &image, err) < 0)
        return kb_err_wrap(err, "image \"%s\"", ref);
    *ret_image = image;
    image = (struct kb_image){0};
    return 0;
}

void kb_image_list(const char *dir, struct kb_buf *out)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/refs", dir);
    DIR *refs = opendir(path);
    for (struct dirent *entry; refs != NULL && (entry = readdir(refs)) != NULL;) {
        kb_str name = kb_str_of(entry->d_name);
        if (entry->d_name[0] == '.' || kb_str_ends(name, ".tmp"))
            continue;
        size_t at = out->n;
        kb_buf_add_str(out, name);
        for (; at < out->n; at++)
            if (out->p[at] == '~')
                out->p[at] = '/';
        kb_buf_putc(out, '\n');
    }
    if (refs != NULL)
        closedir(refs);
}
