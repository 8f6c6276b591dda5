#include "actors/api/accept.h"

struct range {
    kb_str type, as, group, version;
    bool refused; /* q=0 */
};

static struct range parse_range(kb_str text)
{
    struct range range = {.type = kb_str_trim(kb_str_cut(&text, ';'))};
    while (text.p != NULL) {
        kb_str value = kb_str_cut(&text, ';');
        kb_str key = kb_str_trim(kb_str_cut(&value, '='));
        value = kb_str_trim(value);
        if (kb_str_is(key, "as"))
            range.as = value;
        else if (kb_str_is(key, "g"))
            range.group = value;
        else if (kb_str_is(key, "v"))
            range.version = value;
        else if (kb_str_is(key, "q"))
            range.refused = kb_str_is(value, "0") || kb_str_is(value, "0.0");
    }
    return range;
}

static bool parse_encoding(kb_str type, enum kb_encoding *ret)
{
    if (type.n == 0 || kb_str_is(type, "*/*") || kb_str_is(type, "application/*") ||
        kb_str_is(type, "application/json")) {
        *ret = KB_ENCODING_JSON;
        return true;
    }
    *ret = KB_ENCODING_YAML;
    return kb_str_is(type, "application/yaml");
}

static bool parse_form(const struct range *range, struct kb_accept *accept)
{
    bool meta = kb_str_is(range->group, "meta.k8s.io") &&
                (kb_str_is(range->version, "v1") || kb_str_is(range->version, "v1beta1"));
    bool discovery = kb_str_is(range->group, "apidiscovery.k8s.io") &&
                     (kb_str_is(range->version, "v2") || kb_str_is(range->version, "v2beta1"));
    accept->form = KB_FORM_OBJECT;
    if (range->as.n == 0)
        return true;
    if (meta && kb_str_is(range->as, "Table"))
        accept->form = KB_FORM_TABLE;
    else if (meta && (kb_str_is(range->as, "PartialObjectMetadata") ||
                      kb_str_is(range->as, "PartialObjectMetadataList")))
        accept->form = KB_FORM_PARTIAL;
    else if (discovery && kb_str_is(range->as, "APIGroupDiscoveryList"))
        accept->form = KB_FORM_DISCOVERY;
    else
        return false;
    accept->v2beta1 = kb_str_is(range->version, "v2beta1");
    return true;
}

bool kb_accept_parse(kb_str header, unsigned forms, struct kb_accept *ret)
{
    if (kb_str_trim(header).n == 0)
        header = kb_str_of("*/*");
    while (header.p != NULL) {
        struct range range = parse_range(kb_str_cut(&header, ','));
        struct kb_accept accept = {0};
        if (range.refused || !parse_encoding(range.type, &accept.encoding) ||
            !parse_form(&range, &accept))
            continue;
        if (accept.form != KB_FORM_OBJECT && !(forms & 1u << accept.form))
            continue;
        *ret = accept;
        return true;
    }
    return false;
}

const char *kb_accept_content_type(const struct kb_accept *accept)
{
    if (accept->form == KB_FORM_DISCOVERY)
        return accept->v2beta1
                   ? "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
                   : "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    return accept->encoding == KB_ENCODING_YAML ? "application/yaml" : "application/json";
}
