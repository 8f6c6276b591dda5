#include "bus/wire/envelope.h"
#include "tests/lib/test.h"

static kb_str encoded(const struct kb_wire_head *head, struct kb_buf *buf)
{
    kb_wire_encode(head, buf);
    return kb_buf_str(buf);
}

KB_TEST(envelope, comes_back_as_it_was)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    struct kb_wire_head in = {.type = KB_WIRE_CALL,
                              .id = 7000000000,
                              .method = kb_str_of("store.get"),
                              .from = kb_str_of("agent/n1"),
                              .deadline_ms = 2500,
                              .credit = 64};
    struct kb_wire_head out;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_wire_decode(encoded(&in, &buf), &out, &err), &err);
    KB_CHECK_I64(out.type, ==, KB_WIRE_CALL);
    KB_CHECK_U64(out.id, ==, 7000000000);
    KB_CHECK_STRN(out.method, "store.get");
    KB_CHECK_STRN(out.from, "agent/n1");
    KB_CHECK_I64(out.deadline_ms, ==, 2500);
    KB_CHECK_I64(out.credit, ==, 64);
}

KB_TEST(envelope, of_an_event_carries_its_chain)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    struct kb_wire_head in = {
        .type = KB_WIRE_EVENT, .db = kb_str_of("0f0e"), .rev = INT64_MAX, .prev = 0, .now = 3};
    struct kb_wire_head out;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_wire_decode(encoded(&in, &buf), &out, &err), &err);
    KB_CHECK_I64(out.rev, ==, INT64_MAX);
    KB_CHECK_I64(out.prev, ==, 0);
    KB_CHECK_STRN(out.db, "0f0e");
}

KB_TEST(envelope, ignores_fields_it_does_not_know)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_wire_head head;
    struct kb_err err = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "v", 1);
    kb_w_kcstr(&w, "t", "ok");
    kb_w_kint(&w, "id", 3);
    kb_w_kmap(&w, "later");
    kb_w_kint(&w, "id", 9);
    kb_w_end(&w);
    kb_w_end(&w);
    KB_CHECK_OK(kb_wire_decode(kb_buf_str(&w.buf), &head, &err), &err);
    KB_CHECK_U64(head.id, ==, 3);
}

KB_TEST(envelope, of_another_version_is_refused_but_its_id_is_known)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    struct kb_wire_head in = {
        .version = 2, .type = KB_WIRE_CALL, .id = 5, .method = kb_str_of("a.b")};
    struct kb_wire_head out;
    struct kb_err err = {0};
    KB_CHECK_I64(kb_wire_decode(encoded(&in, &buf), &out, &err), ==, -KB_ENOSYS);
    KB_CHECK_U64(out.id, ==, 5);
}

KB_TEST(envelope, that_makes_no_sense_is_refused)
{
    static const char *const bad[] = {"",
                                      "\x80",
                                      "\xc0",
                                      "\x81\xa1v\x01",
                                      "\x93\x01\x02\x03",
                                      "\x82\xa1v\x01\xa1t\xa4\x63\x61ll",
                                      "\xff\xff"};
    struct kb_wire_head out;
    struct kb_err err = {0};
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        KB_CHECK(kb_wire_decode(kb_str_of(bad[i]), &out, &err) < 0);
}

KB_TEST(envelope, error_bodies_keep_code_and_details)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_w_finish) struct kb_w details = {0};
    struct kb_err in = {0}, out = {0};
    kb_err_set(&in, KB_ECONFLICT, "stale \xff bytes");
    kb_w_map(&details);
    kb_w_kint(&details, "index", 4);
    kb_w_end(&details);
    kb_wire_error(&in, kb_w_val(&details), &w);
    kb_val body;
    KB_CHECK_OK(kb_wire_body(kb_buf_str(&w.buf), &body, &out), &out);
    kb_wire_error_read(body, &out);
    KB_CHECK_I64(out.code, ==, KB_ECONFLICT);
    KB_CHECK_STR(out.text, "stale ? bytes");
    KB_CHECK_I64(kb_val_int_at(body, "index", 0), ==, 4);
}
