#include "actors/api/status.h"

#include <stdarg.h>
#include <stdio.h>

kb_str kb_status_resource(const struct kb_kind *kind)
{
    return kind->resource;
}

static kb_str format(struct kb_arena *a, const char *why, va_list args)
{
    char text[4096];
    vsnprintf(text, sizeof(text), why, args);
    return kb_arena_str(a, kb_str_of(text));
}

static void about(struct kb_status *s, const struct kb_kind *kind, kb_str name)
{
    s->group = kind->group;
    s->kind = kind->plural;
    s->name = name;
}

void kb_status_not_found(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                         kb_str name)
{
    *s = (struct kb_status){.code = 404, .reason = kb_str_of("NotFound")};
    about(s, kind, name);
    s->message = kb_arena_printf(a, KB_STR_FMT " \"" KB_STR_FMT "\" not found",
                                 KB_STR_ARG(kind->resource), KB_STR_ARG(name));
}

void kb_status_exists(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                      kb_str name)
{
    *s = (struct kb_status){.code = 409, .reason = kb_str_of("AlreadyExists")};
    about(s, kind, name);
    s->message = kb_arena_printf(a, KB_STR_FMT " \"" KB_STR_FMT "\" already exists",
                                 KB_STR_ARG(kind->resource), KB_STR_ARG(name));
}

void kb_status_conflict(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                        kb_str name, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    kb_str text = format(a, why, args);
    va_end(args);
    *s = (struct kb_status){.code = 409, .reason = kb_str_of("Conflict")};
    about(s, kind, name);
    s->message = kb_arena_printf(
        a, "Operation cannot be fulfilled on " KB_STR_FMT " \"" KB_STR_FMT "\": " KB_STR_FMT,
        KB_STR_ARG(kind->resource), KB_STR_ARG(name), KB_STR_ARG(text));
}

void kb_status_modified(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                        kb_str name)
{
    kb_status_conflict(s, a, kind, name,
                       "the object has been modified; please apply your changes to the latest "
                       "version and try again");
}

void kb_status_invalid(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                       kb_str name, const struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    *s = (struct kb_status){.code = 422,
                            .reason = kb_str_of("Invalid"),
                            .group = kind->group,
                            .kind = kind->kind,
                            .name = name,
                            .causes = causes->items,
                            .ncauses = causes->count};
    kb_buf_add_str(&text, kind->kind);
    if (kind->group.n)
        kb_buf_printf(&text, "." KB_STR_FMT, KB_STR_ARG(kind->group));
    kb_buf_printf(&text, " \"" KB_STR_FMT "\" is invalid", KB_STR_ARG(name));
    if (causes->count) {
        kb_buf_puts(&text, ": ");
        kb_causes_text(causes, &text);
    }
    s->message = kb_arena_str(a, kb_buf_str(&text));
}

void kb_status_forbidden(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                         kb_str name, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    kb_str text = format(a, why, args);
    va_end(args);
    *s = (struct kb_status){.code = 403, .reason = kb_str_of("Forbidden")};
    about(s, kind, name);
    s->message = kb_arena_printf(a, KB_STR_FMT " \"" KB_STR_FMT "\" is forbidden: " KB_STR_FMT,
                                 KB_STR_ARG(kind->resource), KB_STR_ARG(name), KB_STR_ARG(text));
}

void kb_status_bad_request(struct kb_status *s, struct kb_arena *a, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    *s = (struct kb_status){
        .code = 400, .reason = kb_str_of("BadRequest"), .message = format(a, why, args)};
    va_end(args);
}

void kb_status_of_err(struct kb_status *s, struct kb_arena *a, const struct kb_err *err)
{
    *s = (struct kb_status){.code = kb_err_http(err->code),
                            .reason = kb_str_of(kb_err_reason(err->code)),
                            .message = kb_arena_str(a, kb_str_of(err->text))};
    if (s->code == 429 || s->code == 503)
        s->retry_after_s = 1;
}

void kb_status_set(struct kb_status *s, struct kb_arena *a, int code, const char *reason,
                   const char *message, ...)
{
    va_list args;
    va_start(args, message);
    *s = (struct kb_status){
        .code = code, .reason = kb_str_of(reason), .message = format(a, message, args)};
    va_end(args);
}

static void write_causes(const struct kb_status *s, struct kb_w *w)
{
    kb_w_karray(w, "causes");
    for (size_t i = 0; i < s->ncauses; i++) {
        const struct kb_cause *cause = &s->causes[i];
        kb_w_map(w);
        kb_w_kcstr(w, "reason", kb_cause_reason(cause->type));
        kb_w_kstr(w, "message", cause->message);
        if (cause->field.n)
            kb_w_kstr(w, "field", cause->field);
        kb_w_end(w);
    }
    kb_w_end(w);
}

static void write_details(const struct kb_status *s, struct kb_w *w)
{
    kb_w_kmap(w, "details");
    if (s->name.n)
        kb_w_kstr(w, "name", s->name);
    if (s->group.n)
        kb_w_kstr(w, "group", s->group);
    if (s->kind.n)
        kb_w_kstr(w, "kind", s->kind);
    if (s->uid.n)
        kb_w_kstr(w, "uid", s->uid);
    if (s->ncauses)
        write_causes(s, w);
    if (s->retry_after_s)
        kb_w_kint(w, "retryAfterSeconds", s->retry_after_s);
    kb_w_end(w);
}

void kb_status_write(const struct kb_status *s, struct kb_w *w)
{
    bool failed = s->code >= 400;
    kb_w_map(w);
    kb_w_kcstr(w, "kind", "Status");
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kmap(w, "metadata");
    kb_w_end(w);
    kb_w_kcstr(w, "status", failed ? "Failure" : "Success");
    if (s->message.n)
        kb_w_kstr(w, "message", s->message);
    if (s->reason.n)
        kb_w_kstr(w, "reason", s->reason);
    if (s->name.n || s->kind.n || s->ncauses || s->retry_after_s)
        write_details(s, w);
    if (failed)
        kb_w_kint(w, "code", s->code);
    kb_w_end(w);
}
