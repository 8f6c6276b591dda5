#include "bus/model/key.h"

static bool has_control(kb_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return true;
    return false;
}

bool kb_resource_is_good(kb_str resource)
{
    return resource.n > 0 && resource.n <= KB_NAME_MAX_BYTES && !kb_str_has(resource, '/') &&
           !has_control(resource);
}

int kb_key_parse(kb_str text, struct kb_key *ret_key, struct kb_err *err)
{
    kb_str rest = text;
    struct kb_key key;
    if (text.n > KB_KEY_MAX_BYTES)
        return kb_err_set(err, KB_EINVAL, "key is longer than %u bytes", KB_KEY_MAX_BYTES);
    if (has_control(text))
        return kb_err_set(err, KB_EINVAL, "key has a control character");
    key.resource = kb_str_cut(&rest, '/');
    key.ns = rest.p ? kb_str_cut(&rest, '/') : kb_str_n(NULL, 0);
    key.name = rest;
    if (key.resource.n == 0 || rest.p == NULL || rest.n == 0 || kb_str_has(rest, '/'))
        return kb_err_set(err, KB_EINVAL, "key '" KB_STR_FMT "' is not RESOURCE/NAMESPACE/NAME",
                          KB_STR_ARG(text));
    *ret_key = key;
    return 0;
}

bool kb_key_format(struct kb_key key, char *out, size_t cap)
{
    kb_str parts[] = {key.resource, key.ns, key.name};
    size_t n = key.resource.n + key.ns.n + key.name.n + 2;
    if (n >= cap || n > KB_KEY_MAX_BYTES)
        return false;
    for (size_t i = 0; i < KB_COUNT(parts); i++) {
        if (parts[i].n)
            memcpy(out, parts[i].p, parts[i].n);
        out += parts[i].n;
        *out++ = '/';
    }
    out[-1] = '\0';
    return true;
}
