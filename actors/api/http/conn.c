/* conn.c - the bytes of one connection, encrypted or plain, and its time-outs.
 *
 * Input: epoll is level-triggered, but OpenSSL reads ahead, so a read goes on while
 * SSL_has_pending. While a request is being answered, what arrives is held back up to a bound (and
 * its end noticed); beyond it the connection is not read. Output: `out` gathers small pieces into
 * one write of a TLS record's size; a large body is written from where it stands (`direct`).
 *
 * Time-outs cost nothing while nothing fires: moving a deadline further away only notes it; the
 * timer, when it fires early, arms itself again. */
#include "actors/api/http/internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 1000, COMPACT_BYTES = 64 * 1024 };

static void timer_refresh(struct kb__conn *conn)
{
    kb_ms due_ms = conn->in_deadline_ms;
    if (conn->out_deadline_ms && (due_ms == 0 || conn->out_deadline_ms < due_ms))
        due_ms = conn->out_deadline_ms;
    if (due_ms == 0 || (kb_timer_armed(&conn->timer) && conn->timer.due_ms <= due_ms))
        return;
    kb_timers_arm(&conn->server->timers, &conn->timer, due_ms);
}

void kb__conn_expect(struct kb__conn *conn, kb_ms within_ms)
{
    conn->in_deadline_ms = within_ms ? conn->server->now_ms + within_ms : 0;
    timer_refresh(conn);
}

void kb__conn_timer(struct kb__conn *conn)
{
    kb_ms now_ms = conn->server->now_ms;
    bool due = (conn->in_deadline_ms && conn->in_deadline_ms <= now_ms) ||
               (conn->out_deadline_ms && conn->out_deadline_ms <= now_ms);
    if (!due) {
        timer_refresh(conn);
        return;
    }
    conn->server->stats.timeouts++;
    kb__conn_doom(conn);
}

void kb__conn_doom(struct kb__conn *conn)
{
    if (conn->dead)
        return;
    conn->dead = true;
    kb_list_remove(&conn->dirty);
    kb_list_remove(&conn->ready);
    kb_list_push(&conn->server->doomed, &conn->doomed);
    kb__server_wake(conn->server);
}

static void list_once(struct kb_link *head, struct kb_link *link)
{
    if (kb_list_empty(link))
        kb_list_push(head, link);
}

void kb__conn_dirty(struct kb__conn *conn)
{
    if (conn->dead)
        return;
    list_once(&conn->server->dirty, &conn->dirty);
    kb__server_wake(conn->server);
}

void kb__conn_resume(struct kb__conn *conn)
{
    if (conn->dead)
        return;
    list_once(&conn->server->ready, &conn->ready);
    kb__server_wake(conn->server);
}

static bool has_output(const struct kb__conn *conn)
{
    return conn->out.n > conn->out_off || conn->direct != NULL;
}

void kb__conn_watch(struct kb__conn *conn)
{
    bool hold = conn->in.n >= KB__HELD_MAX_BYTES || conn->paused || conn->eof;
    uint32_t want = (hold && !conn->handshaking ? 0 : EPOLLIN) | (conn->blocked ? EPOLLOUT : 0);
    if (want == conn->interest || conn->dead)
        return;
    struct epoll_event event = {.events = want, .data.ptr = conn};
    epoll_ctl(conn->server->epoll, EPOLL_CTL_MOD, conn->fd, &event);
    conn->interest = want;
}

void kb__conn_accept(struct kb_http_server *server, int fd)
{
    struct kb__conn *conn = calloc(1, sizeof(*conn));
    KB_ASSERT(conn != NULL);
    conn->magic = KB__CONN_MAGIC;
    conn->server = server;
    conn->fd = fd;
    kb_list_init(&conn->reqs);
    kb_list_init(&conn->dirty);
    kb_list_init(&conn->ready);
    kb_list_init(&conn->doomed);
    kb_list_push(&server->conns, &conn->link);
    server->stats.conns++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    conn->interest = EPOLLIN;
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        kb__conn_doom(conn);
        return;
    }
    if (server->ctx == NULL) {
        kb__h1_begin(conn);
        return;
    }
    conn->ssl = SSL_new(server->ctx);
    KB_ASSERT(conn->ssl != NULL);
    SSL_set_fd(conn->ssl, fd);
    SSL_set_accept_state(conn->ssl);
    conn->handshaking = true;
    kb__conn_expect(conn, server->config.handshake_ms);
}

void kb__conn_destroy(struct kb__conn *conn)
{
    KB_CHECK_OBJ(conn, KB__CONN_MAGIC);
    struct kb_http_server *server = conn->server;
    conn->dead = true;
    for (struct kb_link *link; (link = kb_list_pop(&conn->reqs)) != NULL;)
        kb__req_gone(KB_CONTAINER(link, struct kb_http_req, link));
    kb_timers_disarm(&server->timers, &conn->timer);
    kb_list_remove(&conn->link);
    kb_list_remove(&conn->dirty);
    kb_list_remove(&conn->ready);
    kb_list_remove(&conn->doomed);
    server->stats.conns--;
    nghttp2_session_del(conn->h2);
    kb_h1_destroy(&conn->h1);
    kb_ws_reader_finish(&conn->ws);
    SSL_free(conn->ssl);
    close(conn->fd);
    kb_buf_finish(&conn->out);
    kb_buf_finish(&conn->in);
    kb_blob_unref(&conn->direct);
    free(conn->user);
    for (size_t i = 0; i < conn->groups_n; i++)
        free(conn->groups[i]);
    free(conn);
}

/* ---- input ---- */

/* OpenSSL's queue of errors must be empty before a call, or SSL_get_error reads an older one. It
 * nearly always is, and emptying it visits sixteen places, a dozen times dearer than to look. */
static void no_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* >0 bytes, 0 end, -1 broken, -2 nothing now. */
static ssize_t read_some(struct kb__conn *conn, char *into, size_t cap)
{
    if (conn->ssl == NULL) {
        ssize_t n = recv(conn->fd, into, cap, 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? -2 : -1;
        return n;
    }
    no_errors();
    int n = SSL_read(conn->ssl, into, (int)cap);
    if (n > 0)
        return n;
    switch (SSL_get_error(conn->ssl, n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -2;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        ERR_clear_error();
        return -1;
    }
}

/* Offer bytes to the protocol until it wants no more; returns how many it took. */
static size_t offer(struct kb__conn *conn, kb_str data)
{
    size_t taken = 0;
    while (taken < data.n && !conn->dead) {
        if (conn->discard)
            return data.n;
        ptrdiff_t n = conn->proto->input(conn, kb_str_n(data.p + taken, data.n - taken));
        if (n < 0)
            kb__conn_doom(conn);
        if (n <= 0)
            break;
        taken += (size_t)n;
    }
    return taken;
}

static void offer_held(struct kb__conn *conn)
{
    if (conn->in.n == 0)
        return;
    size_t taken = offer(conn, kb_buf_str(&conn->in));
    kb_buf_drop(&conn->in, taken);
    if (conn->in.n == 0)
        kb_buf_finish(&conn->in);
}

static void take_input(struct kb__conn *conn, kb_str data)
{
    if (conn->in.n > 0) {
        kb_buf_add_str(&conn->in, data);
        offer_held(conn);
        return;
    }
    size_t taken = offer(conn, data);
    if (taken < data.n && !conn->dead)
        kb_buf_add(&conn->in, data.p + taken, data.n - taken);
}

static void at_eof(struct kb__conn *conn)
{
    conn->eof = true;
    if (conn->lingering)
        kb__conn_doom(conn);
    else
        conn->proto->eof(conn);
}

static void read_all(struct kb__conn *conn)
{
    char *scratch = conn->server->scratch;
    for (int round = 0; round < KB__ROUNDS; round++) {
        if (conn->dead || conn->eof || conn->paused || conn->in.n >= KB__HELD_MAX_BYTES)
            return;
        ssize_t n = read_some(conn, scratch, KB__SCRATCH_BYTES);
        if (n == -2)
            return;
        if (n == -1)
            kb__conn_doom(conn);
        else if (n == 0)
            at_eof(conn);
        else {
            conn->server->stats.bytes_in += (uint64_t)n;
            take_input(conn, kb_str_n(scratch, (size_t)n));
        }
        bool more = conn->ssl ? SSL_has_pending(conn->ssl) : n == KB__SCRATCH_BYTES;
        if (!more)
            return;
    }
    kb__conn_resume(conn); /* others first; OpenSSL may hold bytes that epoll does not know of */
}

/* A browser or curl that forgot the s of https gets a sentence instead of an alert. */
static void tell_plain_http(struct kb__conn *conn)
{
    static const char text[] = "HTTP/1.0 400 Bad Request\r\n\r\n"
                               "Client sent an HTTP request to an HTTPS server.\n";
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
        (void)!send(conn->fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
}

static void handshake(struct kb__conn *conn)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(conn->ssl);
    conn->blocked = false;
    if (rc != 1) {
        int error = SSL_get_error(conn->ssl, rc);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
            conn->blocked = error == SSL_ERROR_WANT_WRITE;
            return;
        }
        tell_plain_http(conn);
        ERR_clear_error();
        conn->server->stats.tls_failures++;
        kb__conn_doom(conn);
        return;
    }
    conn->handshaking = false;
    kb__tls_identify(conn);
    const unsigned char *alpn = NULL;
    unsigned alpn_n = 0;
    SSL_get0_alpn_selected(conn->ssl, &alpn, &alpn_n);
    if (alpn_n != 2 || memcmp(alpn, "h2", 2) != 0)
        kb__h1_begin(conn);
    else if (kb__h2_begin(conn) < 0)
        kb__conn_doom(conn);
}

void kb__conn_event(struct kb__conn *conn, uint32_t events)
{
    KB_CHECK_OBJ(conn, KB__CONN_MAGIC);
    if (conn->dead)
        return;
    bool hung_up = events & (EPOLLHUP | EPOLLERR);
    if (hung_up && !(conn->interest & EPOLLIN)) {
        kb__conn_doom(conn); /* nothing would be read, so its end would not be noticed */
        return;
    }
    if (conn->handshaking)
        handshake(conn);
    if (!conn->handshaking && !conn->dead && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_all(conn);
    if (conn->blocked && events & EPOLLOUT)
        conn->blocked = false;
    if (!conn->dead && !conn->handshaking)
        kb__conn_dirty(conn);
    kb__conn_watch(conn);
}

void kb__conn_continue(struct kb__conn *conn)
{
    if (conn->dead || conn->handshaking || conn->paused)
        return;
    conn->resume = false;
    offer_held(conn);
    if (!conn->dead && conn->in.n == 0)
        read_all(conn);
    if (!conn->dead && conn->eof)
        conn->proto->eof(conn);
    kb__conn_dirty(conn);
    kb__conn_watch(conn);
}

/* ---- output ---- */

/* >=0 bytes taken, -1 broken, -2 full. */
static ssize_t write_some(struct kb__conn *conn, const char *data, size_t n)
{
    if (conn->ssl == NULL) {
        ssize_t sent = send(conn->fd, data, n, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? -2 : -1;
        return sent;
    }
    no_errors();
    int sent = SSL_write(conn->ssl, data, (int)(n < KB__RECORD_BYTES ? n : KB__RECORD_BYTES));
    if (sent > 0)
        return sent;
    int error = SSL_get_error(conn->ssl, sent);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? -2 : -1;
}

/* Gather at least one record's worth, if the protocol has that much. */
static void top_up(struct kb__conn *conn)
{
    if (conn->out_off == conn->out.n || conn->out_off > COMPACT_BYTES) {
        kb_buf_drop(&conn->out, conn->out_off);
        conn->out_off = 0;
    }
    while (!conn->dead && conn->direct == NULL && conn->out.n - conn->out_off < KB__RECORD_BYTES &&
           conn->proto->fill(conn))
        ;
}

/* One write. 1: go on, 0: nothing to write, -1: blocked or dead. */
static int write_once(struct kb__conn *conn)
{
    top_up(conn);
    if (conn->dead)
        return -1;
    bool staged = conn->out.n > conn->out_off;
    if (!staged && conn->direct == NULL)
        return 0;
    const char *from = staged ? conn->out.p + conn->out_off : conn->direct->p + conn->direct_off;
    size_t n = staged ? conn->out.n - conn->out_off : conn->direct->n - conn->direct_off;
    ssize_t sent = write_some(conn, from, n);
    if (sent == -1)
        kb__conn_doom(conn);
    if (sent < 0) {
        conn->blocked = true;
        return -1;
    }
    conn->server->stats.bytes_out += (uint64_t)sent;
    conn->out_deadline_ms = 0;
    if (staged)
        conn->out_off += (size_t)sent;
    else if ((conn->direct_off += (size_t)sent) == conn->direct->n)
        kb_blob_unref(&conn->direct);
    return 1;
}

/* All is written and nothing more will come. With input still under way (a refused body), closing
 * would reset the connection under the answer: say that we are done, and read on for a moment. */
static void finish(struct kb__conn *conn)
{
    if (conn->ssl && !conn->lingering) {
        ERR_clear_error();
        SSL_shutdown(conn->ssl);
        ERR_clear_error();
    }
    if (!conn->discard || conn->eof || conn->lingering) {
        if (!conn->lingering || conn->eof)
            kb__conn_doom(conn);
        return;
    }
    shutdown(conn->fd, SHUT_WR);
    conn->lingering = true;
    kb__conn_expect(conn, LINGER_MS);
}

void kb__conn_flush(struct kb__conn *conn)
{
    if (conn->dead || conn->handshaking || conn->blocked)
        return;
    int rc = 1;
    for (int round = 0; rc == 1 && round < KB__ROUNDS; round++)
        rc = write_once(conn);
    if (conn->dead)
        return;
    if (rc == 1 && has_output(conn))
        conn->blocked = true; /* the others' turn; epoll brings us back */
    else if (rc == 1)
        kb__conn_dirty(conn);
    if (conn->blocked && conn->out_deadline_ms == 0) {
        conn->out_deadline_ms = conn->server->now_ms + conn->server->config.stall_ms;
        timer_refresh(conn);
    }
    if (rc == 0) {
        conn->out_deadline_ms = 0;
        if (conn->out.cap > 2 * COMPACT_BYTES)
            kb_buf_finish(&conn->out), conn->out_off = 0;
        if (conn->closing)
            finish(conn);
        else if (conn->resume)
            kb__conn_resume(conn);
    }
    kb__conn_watch(conn);
}
