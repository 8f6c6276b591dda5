#include "bus/model/yaml_scalar.h"

#include "bus/base/check.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

static bool one_of(kb_str s, const char *const *words)
{
    for (; *words; words++)
        if (kb_str_is(s, *words))
            return true;
    return false;
}

static const char *const trues[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                    "True", "TRUE", "on",  "On",  "ON",  NULL};
static const char *const falses[] = {"n",     "N",     "no",  "No",  "NO",  "false",
                                     "False", "FALSE", "off", "Off", "OFF", NULL};
static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const infinities[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", NULL};
static const char *const minus_infinities[] = {"-.inf", "-.Inf", "-.INF", NULL};
static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};

/* Decimal, 0x, 0b, 0o, and 0 for octal; NULL-terminated text without underscores. */
static bool int_read(const char *text, int64_t *ret)
{
    bool minus = *text == '-';
    const char *p = text + (*text == '-' || *text == '+');
    int base = 10;
    if (p[0] == '0' && p[1] != '\0') {
        int mark = tolower((unsigned char)p[1]);
        base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
        p += mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1;
    }
    uint64_t value = 0;
    if (*p == '\0')
        return false;
    for (; *p; p++) {
        int c = tolower((unsigned char)*p);
        int digit = isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (value > (uint64_t)INT64_MAX + minus)
        return false;
    *ret = minus ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static const char *digits(const char *p)
{
    while (isdigit((unsigned char)*p))
        p++;
    return p;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool float_shape(const char *p)
{
    p += *p == '-' || *p == '+';
    const char *after = digits(p);
    bool whole = after > p;
    p = after;
    if (*p == '.') {
        after = digits(p + 1);
        if (!whole && after == p + 1)
            return false;
        p = after;
    } else if (!whole) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        after = digits(p);
        if (after == p)
            return false;
        p = after;
    }
    return *p == '\0';
}

static bool number_read(kb_str s, struct kb__scalar *scalar)
{
    char text[512];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '_')
            continue;
        if (n + 1 == sizeof(text) || s.p[i] == '\0')
            return false;
        text[n++] = s.p[i];
    }
    text[n] = '\0';
    if (int_read(text, &scalar->i)) {
        scalar->type = KB_INT;
        return true;
    }
    if (!float_shape(text))
        return false;
    scalar->type = KB_DOUBLE;
    scalar->d = strtod(text, NULL);
    return true;
}

struct kb__scalar kb__scalar_resolve(kb_str s)
{
    struct kb__scalar scalar = {.type = KB_STR};
    if (one_of(s, nulls))
        scalar.type = KB_NIL;
    else if (one_of(s, trues) || one_of(s, falses))
        scalar.type = KB_BOOL, scalar.b = one_of(s, trues);
    else if (one_of(s, infinities))
        scalar.type = KB_DOUBLE, scalar.d = INFINITY;
    else if (one_of(s, minus_infinities))
        scalar.type = KB_DOUBLE, scalar.d = -INFINITY;
    else if (one_of(s, nans))
        scalar.type = KB_DOUBLE, scalar.d = NAN;
    else if (strchr("+-.0123456789", s.p[0]))
        number_read(s, &scalar);
    return scalar;
}

/* One or two digits at *p, at most `max`. */
static bool field(const char **p, int max)
{
    int value = 0, n = 0;
    for (; n < 2 && isdigit((unsigned char)**p); n++)
        value = value * 10 + (*(*p)++ - '0');
    return n > 0 && value <= max;
}

/* 2006-1-2, 2006-1-2 15:4:5.9, 2006-1-2T15:4:5.9Z or with an offset. */
static bool time_shape(const char *p)
{
    if (digits(p) - p != 4 || p[4] != '-')
        return false;
    p += 5;
    if (!field(&p, 12) || *p++ != '-' || !field(&p, 31))
        return false;
    if (*p == '\0')
        return true;
    char sep = *p++;
    if ((sep != 'T' && sep != 't' && sep != ' ') || !field(&p, 23) || *p++ != ':' ||
        !field(&p, 59) || *p++ != ':' || !field(&p, 59))
        return false;
    if (*p == '.')
        p = digits(p + 1);
    if (sep == ' ')
        return *p == '\0';
    if (*p == 'Z')
        return p[1] == '\0';
    if (*p != '+' && *p != '-')
        return false;
    p++;
    return field(&p, 23) && *p++ == ':' && field(&p, 59) && *p == '\0';
}

/* [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)? */
static bool base60_shape(const char *p)
{
    p += *p == '-' || *p == '+';
    if (!isdigit((unsigned char)*p))
        return false;
    while (isdigit((unsigned char)*p) || *p == '_')
        p++;
    if (*p != ':')
        return false;
    while (*p == ':') {
        p++;
        if (!field(&p, 59))
            return false;
    }
    if (*p == '.')
        for (p++; isdigit((unsigned char)*p) || *p == '_';)
            p++;
    return *p == '\0';
}

bool kb__scalar_needs_quotes(kb_str s)
{
    char text[128];
    if (kb__scalar_resolve(s).type != KB_STR || kb_str_is(s, "<<"))
        return true;
    return kb_str_copy(s, text, sizeof(text)) && (time_shape(text) || base60_shape(text));
}
