/* <kubus/policy/arguments.h>: the arguments of a policy, `pluginConfig` in the profile. */
#ifndef KUBUS_POLICY_ARGUMENTS_H
#define KUBUS_POLICY_ARGUMENTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum kb_policy_arg_kind {
    KB_POLICY_ARG_NONE,
    KB_POLICY_ARG_BOOL,
    KB_POLICY_ARG_NUMBER,
    KB_POLICY_ARG_TEXT,
    KB_POLICY_ARG_LIST,
    KB_POLICY_ARG_OBJECT,
};

/* A value of a policy's arguments. */
struct kb_policy_arg {
    enum kb_policy_arg_kind kind;
    double number; /* of a number, and of a bool */
    uint32_t text; /* interned */
    uint32_t n;    /* members of a list or object */
};

/* A number that stands in a policy's arguments, {"name": 7, …}; `otherwise` when there is none. For
 * arguments that are a flat object. */
static inline double kb_policy_number(const char *args, const char *name, double otherwise)
{
    size_t n = strlen(name);
    for (const char *at = args; at != NULL && (at = strstr(at, name)) != NULL; at += n) {
        if (at == args || at[-1] != '"' || at[n] != '"')
            continue;
        const char *value = at + n + 1 + strspn(at + n + 1, " \t\r\n:");
        char *end;
        double number = strtod(value, &end);
        return end != value ? number : otherwise;
    }
    return otherwise;
}

#endif
