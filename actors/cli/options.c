#include "actors/cli/options.h"

#include "bus/base/check.h"

#include <stdio.h>

static const struct kb_opt *find_long(const struct kb_opt *opts, size_t n, kb_str name)
{
    for (size_t i = 0; i < n; i++)
        if (kb_str_is(name, opts[i].name))
            return &opts[i];
    return NULL;
}

static const struct kb_opt *find_letter(const struct kb_opt *opts, size_t n, char letter)
{
    for (size_t i = 0; i < n; i++)
        if (opts[i].letter == letter)
            return &opts[i];
    return NULL;
}

static int set_int(const struct kb_opt *opt, const char *text, struct kb_err *err)
{
    int64_t value;
    if (!kb_str_i64(kb_str_of(text), &value) || value < opt->min || value > opt->max)
        return kb_err_set(err, KB_EINVAL, "--%s takes a number from %lld to %lld, not '%s'",
                          opt->name, (long long)opt->min, (long long)opt->max, text);
    *(int64_t *)opt->target = value;
    return 0;
}

static int set_flag(const struct kb_opt *opt, const char *text, struct kb_err *err)
{
    bool yes = text == NULL || strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return kb_err_set(err, KB_EINVAL, "--%s is true or false, not '%s'", opt->name, text);
    *(bool *)opt->target = yes;
    return 0;
}

static int set_value(const struct kb_opt *opt, const char *text, struct kb_err *err)
{
    struct kb_opt_list *list = opt->target;
    switch (opt->kind) {
    case KB_OPT_FLAG:
        return set_flag(opt, text, err);
    case KB_OPT_TEXT:
        *(const char **)opt->target = text;
        return 0;
    case KB_OPT_INT:
        return set_int(opt, text, err);
    case KB_OPT_LIST:
        if (list->count == KB_OPT_LIST_MAX)
            return kb_err_set(err, KB_EINVAL, "--%s given more than %d times", opt->name,
                              KB_OPT_LIST_MAX);
        list->items[list->count++] = text;
        return 0;
    }
    KB_UNREACHABLE();
}

static int parse_long(const struct kb_opt *opts, size_t n, char **argv, int argc, int *at,
                      struct kb_err *err)
{
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    kb_str name = equals ? kb_str_n(text, (size_t)(equals - text)) : kb_str_of(text);
    const struct kb_opt *opt = find_long(opts, n, name);
    const char *value = equals ? equals + 1 : NULL;
    if (opt == NULL)
        return kb_err_set(err, KB_EINVAL, "unknown option '%s'", argv[*at]);
    if (value == NULL && opt->kind != KB_OPT_FLAG) {
        if (*at + 1 >= argc)
            return kb_err_set(err, KB_EINVAL, "--%s needs a value", opt->name);
        value = argv[++*at];
    }
    return set_value(opt, value, err);
}

/* -it, -ojson, -o json, -n=shop */
static int parse_letters(const struct kb_opt *opts, size_t n, char **argv, int argc, int *at,
                         struct kb_err *err)
{
    for (const char *p = argv[*at] + 1; *p; p++) {
        const struct kb_opt *opt = find_letter(opts, n, *p);
        if (opt == NULL)
            return kb_err_set(err, KB_EINVAL, "unknown option '-%c'", *p);
        if (opt->kind == KB_OPT_FLAG) {
            *(bool *)opt->target = true;
            continue;
        }
        if (p[1] != '\0')
            return set_value(opt, p[1] == '=' ? p + 2 : p + 1, err);
        if (*at + 1 >= argc)
            return kb_err_set(err, KB_EINVAL, "-%c needs a value", *p);
        return set_value(opt, argv[++*at], err);
    }
    return 0;
}

int kb_options_parse(const struct kb_opt *opts, size_t n, int argc, char **argv,
                     struct kb_operands *ret, struct kb_err *err)
{
    *ret = (struct kb_operands){0};
    for (int at = 1; at < argc; at++) {
        const char *arg = argv[at];
        int rc = 0;
        if (strcmp(arg, "--") == 0) {
            ret->after_dashes = (const char **)&argv[at + 1];
            ret->after_count = (size_t)(argc - at - 1);
            return 0;
        }
        if (arg[0] == '-' && arg[1] == '-')
            rc = parse_long(opts, n, argv, argc, &at, err);
        else if (arg[0] == '-' && arg[1] != '\0')
            rc = parse_letters(opts, n, argv, argc, &at, err);
        else if (ret->count == KB_COUNT(ret->items))
            rc = kb_err_set(err, KB_EINVAL, "too many operands");
        else
            ret->items[ret->count++] = arg;
        if (rc < 0)
            return rc;
    }
    return 0;
}

void kb_options_help(const struct kb_opt *opts, size_t n, struct kb_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof(left), "%c%c%s --%s%s%s", opts[i].letter ? '-' : ' ',
                 opts[i].letter ? opts[i].letter : ' ', opts[i].letter ? "," : " ", opts[i].name,
                 opts[i].value ? " " : "", opts[i].value ? opts[i].value : "");
        kb_buf_printf(out, "  %-30s %s\n", left, opts[i].help);
    }
}
