#include "bus/base/base64.h"
#include "bus/base/rand.h"
#include "bus/http/sha1.h"
#include "bus/http/url.h"
#include "bus/http/ws.h"
#include "tests/lib/test.h"

KB_TEST(base64, encodes_and_decodes_the_examples_of_the_rfc)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < KB_COUNT(pairs); i++) {
        KB_AUTO(kb_buf_finish) struct kb_buf out = {0}, back = {0};
        kb_base64_encode(kb_str_of(pairs[i][0]), &out);
        KB_CHECK_STRN(kb_buf_str(&out), pairs[i][1]);
        KB_CHECK_I64(kb_base64_decode(kb_str_of(pairs[i][1]), &back), ==, 0);
        KB_CHECK_STRN(kb_buf_str(&back), pairs[i][0]);
    }
}

KB_TEST(base64, refuses_what_is_none)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg===", "Z===", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v!", "=", "Zm 9v"};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_puts(&out, "kept");
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        KB_CHECK_I64(kb_base64_decode(kb_str_of(bad[i]), &out), <, 0);
    KB_CHECK_STRN(kb_buf_str(&out), "kept");
}

KB_TEST(base64, round_trips_any_bytes_in_both_alphabets)
{
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (size_t n = 0; n < 300; n++) {
        KB_AUTO(kb_buf_finish) struct kb_buf in = {0}, text = {0}, url = {0}, back = {0};
        for (size_t i = 0; i < n; i++)
            kb_buf_putc(&in, (char)kb_rand_next(&rand));
        kb_base64_encode(kb_buf_str(&in), &text);
        kb_base64url_encode(kb_buf_str(&in), &url);
        KB_CHECK_I64(kb_base64_decode(kb_buf_str(&text), &back), ==, 0);
        KB_CHECK(kb_str_eq(kb_buf_str(&in), kb_buf_str(&back)));
        kb_buf_clear(&back);
        KB_CHECK_I64(kb_base64url_decode(kb_buf_str(&url), &back), ==, 0);
        KB_CHECK(kb_str_eq(kb_buf_str(&in), kb_buf_str(&back)));
    }
}

KB_TEST(url, decodes_and_encodes)
{
    char out[32];
    KB_CHECK_I64(kb_url_decode(kb_str_of("a%20b+c"), true, out), ==, 5);
    KB_CHECK(memcmp(out, "a b c", 5) == 0);
    KB_CHECK_I64(kb_url_decode(kb_str_of("a+b"), false, out), ==, 3);
    KB_CHECK(memcmp(out, "a+b", 3) == 0);
    static const char *const bad[] = {"%", "%1", "%zz", "a%2"};
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        KB_CHECK_I64(kb_url_decode(kb_str_of(bad[i]), false, out), ==, -1);
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_url_encode(kb_str_of("a b/c~\xc3\xa4"), &text);
    KB_CHECK_STR(text.p, "a%20b%2Fc~%C3%A4");
}

KB_TEST(sha1, digests_the_examples_of_fips_180)
{
    unsigned char out[KB_SHA1_BYTES];
    kb_sha1(kb_str_of("abc"), out);
    KB_CHECK(
        memcmp(out,
               "\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d",
               20) == 0);
    kb_sha1(kb_str_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), out);
    KB_CHECK(
        memcmp(out,
               "\x84\x98\x3e\x44\x1c\x3b\xd2\x6e\xba\xae\x4a\xa1\xf9\x51\x29\xe5\xe5\x46\x70\xf1",
               20) == 0);
}

KB_TEST(utf8, tells_well_formed_from_ill_formed)
{
    static const char *const good[] = {
        "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc3",    "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xe0\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"};
    for (size_t i = 0; i < KB_COUNT(good); i++)
        KB_CHECK(kb_str_is_utf8(kb_str_of(good[i])));
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        KB_CHECK(!kb_str_is_utf8(kb_str_of(bad[i])));
}

/* Any message, cut into any pieces, fed in any portions, comes out whole. */
KB_TEST(ws, round_trips_fragments_in_any_portions)
{
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    KB_AUTO(kb_buf_finish) struct kb_buf wire = {0}, message = {0};
    for (int i = 0; i < 200; i++)
        kb_buf_putc(&message, (char)kb_rand_next(&rand));
    for (size_t at = 0; at < message.n;) {
        unsigned char head[KB_WS_HEAD_BYTES], mask[4] = {7, 9, 1, (unsigned char)at};
        size_t n = 1 + kb_rand_below(&rand, message.n - at);
        kb_buf_add(
            &wire, head,
            kb_ws_head(head, at ? KB_WS_CONTINUATION : KB_WS_BINARY, at + n == message.n, n, mask));
        kb_buf_add(&wire, message.p + at, n);
        kb_ws_mask(wire.p + wire.n - n, n, mask, 0);
        at += n;
    }
    KB_AUTO(kb_ws_reader_finish) struct kb_ws_reader reader = {.masked = true, .max_bytes = 200};
    struct kb_ws_message out = {0};
    for (size_t at = 0; at < wire.n;) {
        size_t n = 1 + kb_rand_below(&rand, wire.n - at);
        kb_str piece = kb_str_n(wire.p + at, n);
        KB_CHECK_I64(kb_ws_read(&reader, &piece, &out), ==, at + n == wire.n);
        at += n;
    }
    KB_CHECK(kb_str_eq(out.data, kb_buf_str(&message)));
}
