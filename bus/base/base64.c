#include "bus/base/base64.h"

#include "bus/base/err.h"

static const char alphabet_std[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(kb_str data, const char *alphabet, bool pad, struct kb_buf *out)
{
    const unsigned char *in = (const unsigned char *)data.p;
    char *at = kb_buf_reserve(out, (data.n + 2) / 3 * 4);
    size_t i = 0;
    for (; i + 3 <= data.n; i += 3) {
        uint32_t three = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *at++ = alphabet[three >> 18];
        *at++ = alphabet[three >> 12 & 63];
        *at++ = alphabet[three >> 6 & 63];
        *at++ = alphabet[three & 63];
    }
    if (i < data.n) {
        bool two = i + 2 == data.n;
        uint32_t rest = (uint32_t)in[i] << 16 | (two ? (uint32_t)in[i + 1] << 8 : 0);
        *at++ = alphabet[rest >> 18];
        *at++ = alphabet[rest >> 12 & 63];
        if (two)
            *at++ = alphabet[rest >> 6 & 63];
        for (int missing = two ? 1 : 2; pad && missing > 0; missing--)
            *at++ = '=';
    }
    out->n = (size_t)(at - out->p);
    out->p[out->n] = '\0';
}

/* Value of one character, or -1. */
static int value_of(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

static int decode(kb_str text, bool url, struct kb_buf *out)
{
    size_t start = out->n, digits = 0, pads = 0;
    uint32_t bits = 0;
    char *at = kb_buf_reserve(out, text.n / 4 * 3 + 3);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!url && (c == '\n' || c == '\r'))
            continue;
        if (!url && c == '=') {
            pads++;
            continue;
        }
        int value = value_of(c, url);
        if (value < 0 || pads > 0)
            return -KB_EINVAL;
        bits = bits << 6 | (uint32_t)value;
        if (++digits % 4 != 0)
            continue;
        *at++ = (char)(bits >> 16), *at++ = (char)(bits >> 8), *at++ = (char)bits;
        bits = 0;
    }
    size_t tail = digits % 4;
    bool padded = url ? pads == 0 : (tail + pads) % 4 == 0 && pads <= 2;
    if (tail == 1 || !padded || (tail == 2 && bits & 15) || (tail == 3 && bits & 3))
        return -KB_EINVAL;
    if (tail >= 2)
        *at++ = (char)(tail == 2 ? bits >> 4 : bits >> 10);
    if (tail == 3)
        *at++ = (char)(bits >> 2);
    out->n = start + (size_t)(at - (out->p + start));
    out->p[out->n] = '\0';
    return 0;
}

void kb_base64_encode(kb_str data, struct kb_buf *out)
{
    encode(data, alphabet_std, true, out);
}

int kb_base64_decode(kb_str text, struct kb_buf *out)
{
    return decode(text, false, out);
}

static size_t skip_breaks(kb_str text, size_t i)
{
    while (i < text.n && (text.p[i] == '\n' || text.p[i] == '\r'))
        i++;
    return i;
}

size_t kb_base64_bad_at(kb_str text)
{
    size_t have = 0; /* characters of the group of four */
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\n' || c == '\r')
            continue;
        if (value_of(c, false) >= 0) {
            have = (have + 1) % 4;
            continue;
        }
        if (c != '=' || have < 2)
            return i;
        size_t next = skip_breaks(text, i + 1);
        if (have == 2 && next == text.n)
            return text.n;
        if (have == 2 && text.p[next] != '=')
            return next - 1;
        return skip_breaks(text, have == 2 ? next + 1 : next);
    }
    return text.n - have;
}

void kb_base64url_encode(kb_str data, struct kb_buf *out)
{
    encode(data, alphabet_url, false, out);
}

int kb_base64url_decode(kb_str text, struct kb_buf *out)
{
    return decode(text, true, out);
}
