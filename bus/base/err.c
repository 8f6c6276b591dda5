#include "bus/base/err.h"

#include "bus/base/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    int http;
    const char *reason;
    const char *text;
} err_table[KB_ERR_COUNT] = {[KB_OK] = {200, "Success", "success"},
#define X(code, http, reason, text) [KB_##code] = {http, reason, text},
                             KB_ERR_MAP(X)
#undef X
};

static int err_index(int code)
{
    int index = code < 0 ? -code : code;
    return index < KB_ERR_COUNT ? index : KB_EINTERNAL;
}

int kb_err_http(int code)
{
    return err_table[err_index(code)].http;
}

const char *kb_err_reason(int code)
{
    return err_table[err_index(code)].reason;
}

const char *kb_err_text(int code)
{
    return err_table[err_index(code)].text;
}

int kb_err_from_reason(const char *reason, int http)
{
    for (int code = 1; code < KB_ERR_COUNT; code++)
        if (reason != NULL && strcmp(err_table[code].reason, reason) == 0)
            return code;
    for (int code = 1; code < KB_ERR_COUNT; code++)
        if (err_table[code].http == http)
            return code;
    return KB_EINTERNAL;
}

int kb_err_set(struct kb_err *err, int code, const char *format, ...)
{
    KB_ASSERT(code > 0 && code < KB_ERR_COUNT);
    if (err == NULL)
        return -code;
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return -code;
}

int kb_err_sys(struct kb_err *err, int saved_errno, const char *format, ...)
{
    int code = saved_errno == ENOSPC || saved_errno == EDQUOT ? KB_ENOSPACE
               : saved_errno == ENOENT                        ? KB_ENOTFOUND
                                                              : KB_EIO;
    if (err == NULL)
        return -code;
    va_list args;
    va_start(args, format);
    err->code = code;
    int used = vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof(err->text))
        snprintf(err->text + used, sizeof(err->text) - (size_t)used, ": %s", strerror(saved_errno));
    return -code;
}

int kb_err_wrap(struct kb_err *err, const char *format, ...)
{
    if (err == NULL)
        return -KB_EINTERNAL;
    char inner[KB_ERR_TEXT_BYTES];
    memcpy(inner, err->text, sizeof(inner));
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof(err->text)) {
        int left = (int)sizeof(err->text) - used;
        snprintf(err->text + used, (size_t)left, ": %.*s", left > 3 ? left - 3 : 0, inner);
    }
    return -(err->code ? err->code : KB_EINTERNAL);
}

void kb_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "assertion failed: %s (%s:%d)\n", expr, file, line);
    fflush(stderr);
    abort();
}

void kb_auto_free(void *pointer_to_pointer)
{
    void **p = pointer_to_pointer;
    free(*p);
    *p = NULL;
}

void kb_auto_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
