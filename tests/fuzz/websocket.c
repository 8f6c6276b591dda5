/* Frames as a client sends them: the reader must end in a message, a wish for more, or an error
 * with a close code; never beyond its bound. */
#include "bus/base/check.h"
#include "bus/http/ws.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    KB_AUTO(kb_ws_reader_finish)
    struct kb_ws_reader reader = {.masked = data[0] & 1, .max_bytes = 1000};
    kb_str rest = kb_str_n((const char *)data + 1, n - 1);
    size_t portion = 1 + data[0] / 2;
    while (rest.n > 0) {
        kb_str piece = kb_str_n(rest.p, rest.n < portion ? rest.n : portion);
        size_t before = piece.n;
        struct kb_ws_message message = {0};
        int rc = kb_ws_read(&reader, &piece, &message);
        KB_ASSERT(rc < 0 ? reader.close_code >= 1000 : rc == 1 || piece.n == 0);
        KB_ASSERT(message.data.n <= 1000);
        if (rc < 0)
            return 0;
        if (message.opcode == KB_WS_CLOSE) {
            int code;
            kb_str reason;
            kb_ws_close_parse(message.data, &code, &reason);
        }
        rest.p += before - piece.n;
        rest.n -= before - piece.n;
    }
    return 0;
}
