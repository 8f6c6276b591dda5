/* Errors are values: a negative code as result, and a text in a struct that the caller owns.
 *
 * One map holds the code, the HTTP status, the reason word of Kubernetes' Status, and a default
 * text. The callee that fails fills the error; callers wrap it with where it happened. */
#ifndef KUBUS_BASE_ERR_H
#define KUBUS_BASE_ERR_H

#include "bus/base/auto.h"

/*    code           HTTP  reason                    default text */
#define KB_ERR_MAP(X)                                                                              \
    X(EINVAL, 400, "BadRequest", "the request is malformed")                                       \
    X(EUNAUTHORIZED, 401, "Unauthorized", "Unauthorized")                                          \
    X(EFORBIDDEN, 403, "Forbidden", "not allowed")                                                 \
    X(ENOTFOUND, 404, "NotFound", "object does not exist")                                         \
    X(EMETHOD, 405, "MethodNotAllowed", "the method is not supported on this resource")            \
    X(ENOTACCEPTABLE, 406, "NotAcceptable", "no offered media type is acceptable")                 \
    X(EEXISTS, 409, "AlreadyExists", "object already exists")                                      \
    X(ECONFLICT, 409, "Conflict", "the object has been modified")                                  \
    X(EGONE, 410, "Expired", "the requested revision has been compacted")                          \
    X(E2BIG, 413, "RequestEntityTooLarge", "the request is too large")                             \
    X(EMEDIA, 415, "UnsupportedMediaType", "the media type is not supported")                      \
    X(EUNPROCESSABLE, 422, "Invalid", "the object is invalid")                                     \
    X(EFULL, 429, "TooManyRequests", "too many requests, try again later")                         \
    X(EINTERNAL, 500, "InternalError", "internal error")                                           \
    X(ENOSYS, 501, "NotImplemented", "not implemented")                                            \
    X(EIO, 500, "InternalError", "input/output error")                                             \
    X(ENOSPACE, 507, "InsufficientStorage", "no space left")                                       \
    X(EUNAVAILABLE, 503, "ServiceUnavailable", "the service is not available")                     \
    X(ETIMEOUT, 504, "Timeout", "the deadline has passed")                                         \
    X(ECANCELED, 499, "Canceled", "the call was canceled")

enum kb_errno {
    KB_OK = 0,
#define X(code, http, reason, text) KB_##code,
    KB_ERR_MAP(X)
#undef X
        KB_ERR_COUNT
};

enum { KB_ERR_TEXT_BYTES = 512 };

/* Zero-initialized means "no error". Copy freely: it owns nothing. */
struct kb_err {
    int code; /* an enum kb_errno, positive */
    char text[KB_ERR_TEXT_BYTES];
};

/* Fill *err (NULL is fine) and return -code, so that a failure is one line:
 * `return kb_err_set(err, KB_EINVAL, "…", …);` */
KB_API int kb_err_set(struct kb_err *err, int code, const char *format, ...) KB_PRINTF(3, 4);

/* The same, with ": " and the text of the system's `saved_errno` behind it; ENOSPC becomes
 * KB_ENOSPACE, ENOENT KB_ENOTFOUND, all others KB_EIO. */
KB_API int kb_err_sys(struct kb_err *err, int saved_errno, const char *format, ...) KB_PRINTF(3, 4);

/* Put "<format>: " before the text that is there; keeps and returns the code, negative. */
KB_API int kb_err_wrap(struct kb_err *err, const char *format, ...) KB_PRINTF(2, 3);

/* What a code is outside: HTTP status, the reason word, the default text. Accepts ±code. */
KB_API int kb_err_http(int code);
KB_API const char *kb_err_reason(int code);
KB_API const char *kb_err_text(int code);

/* The code that a reason word of a reply stands for; KB_EINTERNAL for an unknown word. */
KB_API int kb_err_from_reason(const char *reason, int http);

#endif
