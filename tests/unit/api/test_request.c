/* What a request keeps of its head. */
#include "actors/api/http/internal.h"
#include "tests/lib/test.h"

#include <stdlib.h>

enum { REPEATS = 120, VALUE_BYTES = 500 };

static void add(struct kb_http_req *req, const char *name, const char *value)
{
    KB_CHECK(kb__req_add_name(req, kb_str_of(name)) == 0);
    KB_CHECK(kb__req_add_value(req, kb_str_of(value)) == 0);
}

/* Headers cost a client a few bytes each when HTTP/2 compresses them, and a request may wait long
 * for its body: what is kept is bounded by what was sent, not by its square. */
KB_TEST(request, a_header_that_is_repeated_takes_no_more_than_twice_its_bytes)
{
    struct kb_http_server server = {
        .config = {.max_header_bytes = 64 * 1024, .max_head_total = 16 * 1024 * 1024}};
    struct kb__conn conn = {.server = &server};
    char value[VALUE_BYTES + 1];
    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    kb_list_init(&server.free_reqs);
    kb_list_init(&conn.reqs);
    struct kb_http_req *req = kb__req_new(&conn);
    KB_CHECK(kb__req_add_target(req, kb_str_of("/")) == 0);
    add(req, "other", "one");
    for (int i = 0; i < REPEATS; i++)
        add(req, "x", value);
    add(req, "other", " two ");
    size_t sent = req->text.n;
    kb__req_head_done(req);
    KB_CHECK_U64(req->text.n, <=, 2 * sent + 2 * REPEATS);
    KB_CHECK_U64(kb_http_req_header(req, "x").n, ==, REPEATS * (VALUE_BYTES + 2) - 2);
    KB_CHECK_STRN(kb_http_req_header(req, "other"), "one, two");
    kb__req_free(req);
    struct kb_link *link = kb_list_pop(&server.free_reqs);
    req = KB_CONTAINER(link, struct kb_http_req, link);
    kb_buf_finish(&req->text);
    free(req->fields);
    free(req);
}
