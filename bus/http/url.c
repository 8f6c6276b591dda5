#include "bus/http/url.h"

#include <ctype.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

ptrdiff_t kb_url_decode(kb_str s, bool plus_is_space, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (s.n - i < 3)
                return -1;
            int high = hex_value(s.p[i + 1]), low = hex_value(s.p[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    return (ptrdiff_t)n;
}

void kb_url_encode(kb_str s, struct kb_buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 128 && isalnum(c)) || c == '-' || c == '.' || c == '_' || c == '~') {
            kb_buf_putc(out, (char)c);
            continue;
        }
        char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        kb_buf_add(out, escaped, 3);
    }
}

bool kb_url_segment(kb_str *rest, kb_str *ret_segment)
{
    while (rest->p != NULL) {
        *ret_segment = kb_str_cut(rest, '/');
        if (ret_segment->n > 0)
            return true;
    }
    return false;
}

bool kb_url_param(kb_str *rest, kb_str *ret_key, kb_str *ret_value)
{
    while (rest->p != NULL) {
        kb_str value = kb_str_cut(rest, '&');
        if (value.n == 0)
            continue;
        *ret_key = kb_str_cut(&value, '=');
        *ret_value = value.p ? value : kb_str_n(ret_key->p + ret_key->n, 0);
        return true;
    }
    return false;
}
