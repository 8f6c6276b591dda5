/* Base64 of RFC 4648: the standard alphabet with padding, as Secrets, kubeconfigs and WebSocket
 * handshakes have it. */
#ifndef KUBUS_BASE_BASE64_H
#define KUBUS_BASE_BASE64_H

#include "bus/base/buf.h"

/* Append the encoded bytes; 4 characters for each 3 bytes begun. */
KB_API void kb_base64_encode(kb_str data, struct kb_buf *out);

/* Append the decoded bytes. Line breaks are skipped, as PEM-like files have them; anything else
 * outside the alphabet, missing padding or stray bits in the last character: -KB_EINVAL, and `out`
 * is as it was. */
KB_API int kb_base64_decode(kb_str text, struct kb_buf *out);

/* Where a text that kb_base64_decode refuses goes wrong, as Go's decoder counts it. */
KB_API size_t kb_base64_bad_at(kb_str text);

/* The URL alphabet ('-' and '_') without padding, as JSON Web Tokens have it. */
KB_API void kb_base64url_encode(kb_str data, struct kb_buf *out);
KB_API int kb_base64url_decode(kb_str text, struct kb_buf *out);

#endif
