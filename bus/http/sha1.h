/* SHA-1 of FIPS 180-4, for the WebSocket handshake alone: it is no longer fit for signatures. */
#ifndef KUBUS_HTTP_SHA1_H
#define KUBUS_HTTP_SHA1_H

#include "bus/base/str.h"

enum { KB_SHA1_BYTES = 20 };

void kb_sha1(kb_str data, unsigned char out[KB_SHA1_BYTES]);

#endif
