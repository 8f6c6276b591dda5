/* tls.c - certificates: ours, and whom a client's names.
 *
 * The verify callback accepts every client certificate, so that a bad one is answered with a 401
 * Status and not with a broken handshake. That makes one rule vital: a subject is believed only
 * when SSL_get_verify_result says X509_V_OK. Otherwise anybody could sign himself an
 * O=system:masters.
 *
 * There is no session resumption: Kubernetes' clients do not ask for it, and a resumed session
 * would carry the verdict on a certificate that has since expired. */
#include "actors/api/http/internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

/* Our order, not the client's: HTTP/2 where both speak it. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *user)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    (void)ssl, (void)user;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int failed(struct kb_err *err, const char *what, const char *file)
{
    char text[256] = "";
    unsigned long code = ERR_peek_last_error();
    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return kb_err_set(err, KB_EINVAL, "%s '%s': %s", what, file, text);
}

static void ctx_free(SSL_CTX **ctx_p)
{
    SSL_CTX_free(*ctx_p);
}

int kb__tls_ctx(const struct kb_http_config *config, SSL_CTX **ret, struct kb_err *err)
{
    KB_AUTO(ctx_free) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    KB_ASSERT(ctx != NULL);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"kubus", 5);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                  "TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, config->cert_file) != 1)
        return failed(err, "certificate", config->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, config->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return failed(err, "private key", config->key_file);
    if (config->client_ca_file) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->client_ca_file);
        if (names == NULL || SSL_CTX_load_verify_file(ctx, config->client_ca_file) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return failed(err, "client CA", config->client_ca_file);
        }
        SSL_CTX_set_client_CA_list(ctx, names);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any);
    }
    *ret = KB_STEAL(ctx);
    return 0;
}

/* One entry of the subject as UTF-8; NULL for one that hides a NUL. Caller frees. */
static char *entry_text(X509_NAME *name, int at)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    char *text = NULL;
    if (n >= 0 && memchr(utf8, 0, (size_t)n) == NULL)
        text = kb_str_dup(kb_str_n((const char *)utf8, (size_t)n));
    OPENSSL_free(utf8);
    return text;
}

static void read_subject(struct kb__conn *conn, X509 *cert)
{
    X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at >= 0)
        conn->user = entry_text(name, at);
    for (at = -1; conn->groups_n < KB__GROUPS_MAX;) {
        at = X509_NAME_get_index_by_NID(name, NID_organizationName, at);
        if (at < 0)
            break;
        char *group = entry_text(name, at);
        if (group)
            conn->groups[conn->groups_n++] = group;
    }
}

void kb__tls_identify(struct kb__conn *conn)
{
    X509 *cert = SSL_get0_peer_certificate(conn->ssl);
    conn->cert = KB_HTTP_CERT_NONE;
    if (cert == NULL)
        return;
    conn->cert = KB_HTTP_CERT_BAD;
    if (SSL_get_verify_result(conn->ssl) != X509_V_OK)
        return;
    read_subject(conn, cert);
    if (conn->user != NULL && conn->user[0] != '\0')
        conn->cert = KB_HTTP_CERT_OK;
}
