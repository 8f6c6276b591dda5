/* Named formats: a table of name and check. A check answers NULL or what is wrong, in the words of
 * Kubernetes' validation, which people search the web for. */
#include "bus/base/clock.h"
#include "bus/base/limits.h"
#include "bus/model/quantity.h"
#include "bus/model/schema_impl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define LABEL_RE     "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_RE LABEL_RE "(\\." LABEL_RE ")*"

static const char subdomain_text[] =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
    "validation is '" SUBDOMAIN_RE "')";
static const char label_text[] =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must "
    "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
    "validation is '" LABEL_RE "')";
static const char label1035_text[] =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char name_part_text[] =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with "
    "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
static const char qualified_text[] =
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
    "for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain "
    "prefix "
    "and '/' (e.g. 'example.com/MyName')";
static const char prefix_part_text[] =
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
    "characters, "
    "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
    "used for validation is '" SUBDOMAIN_RE "')";
static const char label_value_text[] =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
    "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char config_key_text[] =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', "
    " "
    "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(kb_str s)
{
    if (s.n == 0 || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

static bool is_subdomain(kb_str s)
{
    while (s.p) {
        if (!is_label(kb_str_cut(&s, '.')))
            return false;
    }
    return true;
}

/* [A-Za-z0-9] at both ends, and also -_. within. */
static bool is_word(kb_str s)
{
    if (s.n == 0 || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return false;
    return true;
}

static const char *check_subdomain(kb_str s)
{
    if (s.n > KB_NAME_MAX_BYTES)
        return "must be no more than 253 characters";
    return s.n && is_subdomain(s) ? NULL : subdomain_text;
}

static const char *check_label(kb_str s)
{
    if (s.n > 63)
        return "must be no more than 63 characters";
    return is_label(s) ? NULL : label_text;
}

static const char *check_label1035(kb_str s)
{
    if (s.n > 63)
        return "must be no more than 63 characters";
    return is_label(s) && !isdigit((unsigned char)s.p[0]) ? NULL : label1035_text;
}

/* A prefix of a name: what a "-" at its end would stand before. */
static const char *check_name_prefix(kb_str s)
{
    while (s.n && s.p[s.n - 1] == '-')
        s.n--;
    return s.n ? check_subdomain(s) : NULL;
}

static const char *check_qualified(kb_str s)
{
    kb_str rest = s, name = kb_str_cut(&rest, '/');
    if (rest.p) {
        kb_str prefix = name;
        name = kb_str_cut(&rest, '/');
        if (rest.p)
            return qualified_text;
        if (prefix.n == 0)
            return "prefix part must be non-empty";
        if (prefix.n > KB_NAME_MAX_BYTES)
            return "prefix part must be no more than 253 characters";
        if (!is_subdomain(prefix))
            return prefix_part_text;
    }
    if (name.n == 0)
        return "name part must be non-empty";
    if (name.n > 63)
        return "name part must be no more than 63 characters";
    return is_word(name) ? NULL : name_part_text;
}

static const char *check_qualified_or_empty(kb_str s)
{
    return s.n ? check_qualified(s) : NULL;
}

static bool is_one_of(kb_str s, const char *const *words)
{
    for (; *words; words++)
        if (kb_str_is(s, *words))
            return true;
    return false;
}

static const char *check_resource(kb_str s)
{
    static const char *const known[] = {"cpu",  "memory", "storage", "ephemeral-storage",
                                        "pods", NULL};
    const char *wrong = check_qualified(s);
    if (wrong)
        return wrong;
    if (kb_str_has(s, '/') || is_one_of(s, known) || kb_str_starts(s, "hugepages-") ||
        kb_str_starts(s, "attachable-volumes-"))
        return NULL;
    return "must be a standard resource type or fully qualified";
}

static const char *check_finalizer(kb_str s)
{
    static const char *const known[] = {"kubernetes", "orphan", "foregroundDeletion", NULL};
    const char *wrong = check_qualified(s);
    if (wrong)
        return wrong;
    return kb_str_has(s, '/') || is_one_of(s, known)
               ? NULL
               : "name is neither a standard finalizer name nor is it fully qualified";
}

static const char *check_label_value(kb_str s)
{
    if (s.n > 63)
        return "must be no more than 63 characters";
    return s.n == 0 || is_word(s) ? NULL : label_value_text;
}

static const char *check_config_key(kb_str s)
{
    if (s.n > KB_NAME_MAX_BYTES)
        return "must be no more than 253 characters";
    if (s.n == 0)
        return config_key_text;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return config_key_text;
    if (kb_str_is(s, "."))
        return "must not be '.'";
    if (kb_str_is(s, ".."))
        return "must not be '..'";
    return kb_str_starts(s, "..") ? "must not start with '..'" : NULL;
}

static const char *check_env_name(kb_str s)
{
    bool ok = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        ok = ok && s.p[i] >= ' ' && s.p[i] <= '~' && s.p[i] != '=';
    return ok ? NULL
              : "a valid environment variable name must consist only of printable ASCII characters "
                "other than '='";
}

static const char *check_port_name(kb_str s)
{
    bool letter = false;
    if (s.n > 15)
        return "must be no more than 15 characters";
    for (size_t i = 0; i < s.n; i++) {
        if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
            return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        if (s.p[i] == '-' && i + 1 < s.n && s.p[i + 1] == '-')
            return "must not contain consecutive hyphens";
        letter |= s.p[i] >= 'a' && s.p[i] <= 'z';
    }
    if (!letter)
        return "must contain at least one letter (a-z)";
    return s.p[0] == '-' || s.p[s.n - 1] == '-' ? "must not begin or end with a hyphen" : NULL;
}

static const char *check_ip(kb_str s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char out[16];
    if (kb_str_copy(s, text, sizeof(text)) &&
        (inet_pton(AF_INET, text, out) == 1 || inet_pton(AF_INET6, text, out) == 1))
        return NULL;
    return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

static const char *check_cidr(kb_str s)
{
    uint64_t bits;
    kb_str rest = s, address = kb_str_cut(&rest, '/');
    if (rest.p && check_ip(address) == NULL && kb_str_u64(rest, &bits) &&
        bits <= (kb_str_has(address, ':') ? 128u : 32u))
        return NULL;
    return "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
}

static const char *check_header_name(kb_str s)
{
    bool ok = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        ok = ok && (is_alnum(s.p[i]) || s.p[i] == '-');
    return ok ? NULL
              : "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
                "'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
}

static const char *check_sysctl(kb_str s)
{
    static const char text[] =
        "must have at most 253 characters and match regex "
        "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    bool start = true;
    if (s.n == 0 || s.n > KB_NAME_MAX_BYTES || !is_lower_alnum(s.p[s.n - 1]))
        return text;
    for (size_t i = 0; i < s.n; i++) {
        bool sep = s.p[i] == '.' || s.p[i] == '/';
        bool inner = s.p[i] == '-' || s.p[i] == '_';
        if ((!is_lower_alnum(s.p[i]) && !sep && !inner) || (start && (sep || inner)) ||
            (sep && !is_lower_alnum(s.p[i - 1])))
            return text;
        start = sep;
    }
    return NULL;
}

static const char *check_search_domain(kb_str s)
{
    if (kb_str_is(s, "."))
        return NULL;
    if (kb_str_ends(s, "."))
        s.n--;
    if (s.n > KB_NAME_MAX_BYTES)
        return "must be no more than 253 characters";
    while (s.p) {
        kb_str part = kb_str_cut(&s, '.');
        bool ok = part.n > 0 && part.p[0] != '-' && part.p[part.n - 1] != '-';
        for (size_t i = 0; i < part.n; i++)
            ok = ok && (is_lower_alnum(part.p[i]) || part.p[i] == '-' || part.p[i] == '_');
        if (!ok)
            return subdomain_text;
    }
    return NULL;
}

static const char *check_no_backstep(kb_str s)
{
    while (s.p)
        if (kb_str_is(kb_str_cut(&s, '/'), ".."))
            return "must not contain '..'";
    return NULL;
}

static const char *check_relative_path(kb_str s)
{
    return s.n && s.p[0] == '/' ? "must be a relative path" : check_no_backstep(s);
}

static const char *check_percent(kb_str s)
{
    uint64_t n;
    if (kb_str_ends(s, "%") && kb_str_u64(kb_str_n(s.p, s.n - 1), &n))
        return NULL;
    return "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  "
           "or '93%', regex used for validation is '[0-9]+%')";
}

static const char *check_time(kb_str s)
{
    char text[64];
    int64_t us;
    return kb_str_copy(s, text, sizeof(text)) && kb_time_parse(text, &us) == 0
               ? NULL
               : "must be a date and time as in RFC 3339";
}

static const char *check_quantity(kb_str s)
{
    struct kb_quantity q;
    return kb_quantity_parse(s, &q, NULL) == 0 ? NULL : "must be a quantity";
}

static const char *check_base64(kb_str s)
{
    bool ok = s.n % 4 == 0;
    size_t pad = kb_str_ends(s, "==") ? 2 : kb_str_ends(s, "=") ? 1 : 0;
    for (size_t i = 0; ok && i + pad < s.n; i++)
        ok = is_alnum(s.p[i]) || s.p[i] == '+' || s.p[i] == '/';
    return ok ? NULL : "must be text in base64";
}

enum { TIME = 1, MICRO, QUANTITY, PERCENT, PORT, BYTES, FIRST_OTHER };

static const struct {
    const char *name;
    const char *(*check)(kb_str s);
} formats[] = {
    [TIME] = {"date-time", check_time},
    [MICRO] = {"micro-time", check_time},
    [QUANTITY] = {"quantity", check_quantity},
    [PERCENT] = {"int-or-percent", check_percent},
    [PORT] = {"port-or-name", check_port_name},
    [BYTES] = {"byte", check_base64},
    [FIRST_OTHER] = {"dns1123-subdomain", check_subdomain},
    {"dns1123-label", check_label},
    {"dns1035-label", check_label1035},
    {"name-prefix", check_name_prefix},
    {"qualified-name", check_qualified},
    {"qualified-name-or-empty", check_qualified_or_empty},
    {"resource-name", check_resource},
    {"finalizer", check_finalizer},
    {"label-value", check_label_value},
    {"config-key", check_config_key},
    {"env-name", check_env_name},
    {"port-name", check_port_name},
    {"ip", check_ip},
    {"cidr", check_cidr},
    {"http-header-name", check_header_name},
    {"sysctl-name", check_sysctl},
    {"search-domain", check_search_domain},
    {"relative-path", check_relative_path},
    {"no-backstep-path", check_no_backstep},
};

uint8_t kb__format_of(kb_str name)
{
    for (size_t i = 1; i < KB_COUNT(formats); i++)
        if (kb_str_is(name, formats[i].name))
            return (uint8_t)i;
    return 0;
}

const char *kb__format_check(uint8_t format, kb_str text)
{
    return format && format < KB_COUNT(formats) ? formats[format].check(text) : NULL;
}

const char *kb_format_check(const char *format, kb_str text)
{
    return kb__format_check(kb__format_of(kb_str_of(format)), text);
}

bool kb__format_is_quantity(uint8_t format)
{
    return format == QUANTITY;
}

bool kb__format_is_time(uint8_t format)
{
    return format == TIME || format == MICRO;
}

bool kb__format_is_percent(uint8_t format)
{
    return format == PERCENT;
}

bool kb__format_is_port(uint8_t format)
{
    return format == PORT;
}

bool kb__format_is_bytes(uint8_t format)
{
    return format == BYTES;
}

static int canonical_time(uint8_t format, struct kb_arena *arena, kb_str *text)
{
    char copy[64], out[KB_TIME_BYTES];
    int64_t us;
    if (!kb_str_copy(*text, copy, sizeof(copy)) || kb_time_parse(copy, &us) < 0)
        return -KB_EINVAL;
    (format == TIME ? kb_time_format : kb_time_format_micro)(us, out);
    if (!kb_str_is(*text, out))
        *text = kb_arena_str(arena, kb_str_of(out));
    return 0;
}

int kb__format_canonical(uint8_t format, struct kb_arena *arena, kb_str *text)
{
    if (format == TIME || format == MICRO)
        return canonical_time(format, arena, text);
    if (format == BYTES)
        return check_base64(*text) ? -KB_EINVAL : 0;
    if (format != QUANTITY)
        return 0;
    struct kb_quantity q;
    char out[KB_QUANTITY_BYTES];
    if (kb_quantity_parse(*text, &q, NULL) < 0)
        return -KB_EINVAL;
    kb_quantity_format(q, out);
    if (!kb_str_is(*text, out))
        *text = kb_arena_str(arena, kb_str_of(out));
    return 0;
}
