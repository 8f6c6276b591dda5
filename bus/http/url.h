/* Percent coding of RFC 3986, and walking over paths and query strings. */
#ifndef KUBUS_HTTP_URL_H
#define KUBUS_HTTP_URL_H

#include "bus/base/buf.h"

/* Decode into `out`, which must have room for `s.n` bytes; returns the length, or -1 on a broken
 * escape. `plus_is_space`: in a query, where '+' stands for a blank. May work in place. */
ptrdiff_t kb_url_decode(kb_str s, bool plus_is_space, char *out);

/* Append `s` with everything but letters, digits and "-._~" escaped: right for one path segment
 * and for a key or value of a query. */
void kb_url_encode(kb_str s, struct kb_buf *out);

/* Next non-empty segment of a path, still encoded; false at the end. Start with *rest = the path.
 */
bool kb_url_segment(kb_str *rest, kb_str *ret_segment);

/* Next `key=value` of a query, still encoded; a key without '=' has an empty value. */
bool kb_url_param(kb_str *rest, kb_str *ret_key, kb_str *ret_value);

#endif
