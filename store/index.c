#include "store/index.h"

#include "bus/base/check.h"
#include "bus/model/path.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

static void resource_free(struct kb_resource *resource)
{
    if (resource == NULL)
        return;
    for (size_t i = 0; i < resource->n; i++) {
        free(resource->indices[i].name);
        free(resource->indices[i].path);
    }
    free(resource->name);
    free(resource);
}

void kb_indices_finish(struct kb_indices *indices)
{
    kb_str name;
    void *resource;
    for (size_t i = 0; kb_map_next(&indices->resources, &i, &name, &resource);)
        resource_free(resource);
    kb_map_finish(&indices->resources);
    *indices = (struct kb_indices){0};
}

struct kb_resource *kb_indices_of(const struct kb_indices *indices, kb_str resource)
{
    return kb_map_get(&indices->resources, resource);
}

struct kb_index *kb_index_find(const struct kb_resource *resource, kb_str name)
{
    if (resource)
        for (size_t i = 0; i < resource->n; i++)
            if (kb_str_is(name, resource->indices[i].name))
                return (struct kb_index *)(uintptr_t)&resource->indices[i];
    return NULL;
}

/* ---- declaring ---- */

static bool path_good(kb_str path)
{
    static const char label[] = "@label:";
    char text[KB_PATH_MAX_BYTES + 1];
    if (kb_str_has(path, '\0') || !kb_str_copy(path, text, sizeof(text)))
        return false;
    if (text[0] != '@')
        return kb_path_is_good(text);
    return kb_str_is(path, "@owner") || (kb_str_starts(path, label) && path.n > sizeof(label) - 1);
}

static bool name_good(kb_str name)
{
    if (name.n == 0 || name.n > 63)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    static const char *const taken[] = {"ns", "name", "owner-shard", "labels", "fields", "with"};
    for (size_t i = 0; i < KB_COUNT(taken); i++)
        if (kb_str_is(name, taken[i]))
            return false;
    return true;
}

int kb_indices_same(const struct kb_indices *indices, kb_str resource, kb_val list, bool *ret_same,
                    struct kb_err *err)
{
    const struct kb_resource *have = kb_indices_of(indices, resource);
    bool same = kb_val_count(list) == (have ? have->n : 0);
    if (!kb_resource_is_good(resource))
        return kb_err_set(err, KB_EINVAL, "declare: no resource is called '" KB_STR_FMT "'",
                          KB_STR_ARG(resource));
    if (kb_val_count(list) > KB_INDEX_MAX)
        return kb_err_set(err, KB_EINVAL, "declare: more than %d indices", KB_INDEX_MAX);
    size_t at = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it); at++) {
        kb_str name = kb_val_str_at(it.val, "name"), path = kb_val_str_at(it.val, "path");
        if (!name_good(name) || !path_good(path))
            return kb_err_set(err, KB_EINVAL,
                              "declare: index '" KB_STR_FMT "' on '" KB_STR_FMT "' is malformed",
                              KB_STR_ARG(name), KB_STR_ARG(path));
        size_t other = 0;
        for (struct kb_iter in = kb_iter(list); kb_iter_next(&in) && other < at; other++)
            if (kb_str_eq(kb_val_str_at(in.val, "name"), name))
                return kb_err_set(err, KB_EINVAL, "declare: index '" KB_STR_FMT "' stands twice",
                                  KB_STR_ARG(name));
        const struct kb_index *index = kb_index_find(have, name);
        if (index == NULL || !kb_str_is(path, index->path))
            same = false;
    }
    *ret_same = same;
    return 0;
}

static void write_index(struct kb_w *w, int64_t id, kb_str name, kb_str path, bool ready)
{
    kb_w_map(w);
    kb_w_kint(w, "id", id);
    kb_w_kstr(w, "name", name);
    kb_w_kstr(w, "path", path);
    kb_w_kbool(w, "ready", ready);
    kb_w_end(w);
}

void kb_indices_plan(struct kb_indices *indices, kb_str resource, kb_val list, struct kb_w *w)
{
    const struct kb_resource *have = kb_indices_of(indices, resource);
    if (indices->next_id == 0)
        indices->next_id = 1;
    kb_w_map(w);
    kb_w_kstr(w, "resource", resource);
    kb_w_karray(w, "indices");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_str name = kb_val_str_at(it.val, "name"), path = kb_val_str_at(it.val, "path");
        const struct kb_index *index = kb_index_find(have, name);
        bool keep = index && kb_str_is(path, index->path);
        write_index(w, keep ? index->id : indices->next_id++, name, path, keep && index->ready);
    }
    kb_w_end(w);
    kb_w_end(w);
}

void kb_indices_write(const struct kb_resource *resource, struct kb_w *w)
{
    kb_w_map(w);
    kb_w_kcstr(w, "resource", resource->name);
    kb_w_karray(w, "indices");
    for (size_t i = 0; i < resource->n; i++) {
        const struct kb_index *index = &resource->indices[i];
        write_index(w, index->id, kb_str_of(index->name), kb_str_of(index->path), index->ready);
    }
    kb_w_end(w);
    kb_w_end(w);
}

int kb_indices_apply(struct kb_indices *indices, kb_val planned, struct kb_err *err)
{
    kb_str name = kb_val_str_at(planned, "resource");
    kb_val list = kb_val_get(planned, "indices");
    if (name.n == 0 || kb_val_count(list) > KB_INDEX_MAX)
        return kb_err_set(err, KB_EIO, "a declaration in the database is malformed");
    struct kb_resource *resource = calloc(1, sizeof(*resource));
    KB_ASSERT(resource != NULL);
    resource->name = kb_str_dup(name);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        struct kb_index *index = &resource->indices[resource->n++];
        index->id = (uint32_t)kb_val_int_at(it.val, "id", 0);
        index->name = kb_str_dup(kb_val_str_at(it.val, "name"));
        index->path = kb_str_dup(kb_val_str_at(it.val, "path"));
        index->ready = kb_val_bool_at(it.val, "ready", false);
        if (index->id >= indices->next_id)
            indices->next_id = index->id + 1;
    }
    resource_free(kb_map_put(&indices->resources, name, resource));
    return 0;
}

/* ---- values and entries ---- */

kb_str kb_doc_owner_uid(kb_val doc)
{
    kb_val refs = kb_val_at(doc, "metadata.ownerReferences");
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);)
        if (kb_val_bool_at(it.val, "controller", false))
            return kb_val_str_at(it.val, "uid");
    return kb_str_n(NULL, 0);
}

kb_str kb_index_value(const char *path, kb_val doc, char scratch[KB_VAL_TEXT_BYTES])
{
    if (strcmp(path, "@owner") == 0)
        return kb_doc_owner_uid(doc);
    if (strncmp(path, "@label:", 7) == 0)
        return kb_val_str(kb_val_get(kb_val_at(doc, "metadata.labels"), path + 7));
    return kb_val_text(kb_val_at(doc, path), scratch);
}

size_t kb_index_entry(uint32_t id, kb_str value, struct kb_key key,
                      char out[KB_INDEX_ENTRY_MAX_BYTES])
{
    uint32_t be_id = htobe32(id);
    uint64_t be_hash = htobe64(kb_hash64(value.p, value.n));
    memcpy(out, &be_id, sizeof(be_id));
    memcpy(out + sizeof(be_id), &be_hash, sizeof(be_hash));
    if (key.name.n == 0)
        return KB_INDEX_PREFIX_BYTES;
    size_t n = KB_INDEX_PREFIX_BYTES;
    if (key.ns.n)
        memcpy(out + n, key.ns.p, key.ns.n);
    n += key.ns.n;
    out[n++] = '/';
    memcpy(out + n, key.name.p, key.name.n);
    return n + key.name.n;
}

kb_str kb_index_entry_name(kb_str entry)
{
    if (entry.n <= KB_INDEX_PREFIX_BYTES)
        return kb_str_n(NULL, 0);
    return kb_str_n(entry.p + KB_INDEX_PREFIX_BYTES, entry.n - KB_INDEX_PREFIX_BYTES);
}
