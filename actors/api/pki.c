/* pki.c - keys first, then certificates, then what embeds them.
 *
 * Each file is judged by its content alone, never by whether another file exists, so there is no
 * order of crashes that leaves a state this code does not mend. Replacing the CA makes every
 * certificate below it bad, and they follow in the same run. */
#include "actors/api/pki.h"

#include "bus/base/base64.h"
#include "bus/base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { DAY_S = 86400, CA_DAYS = 3650, LEAF_DAYS = 365, RENEW_DAYS = 30, PEM_MAX_BYTES = 64 * 1024 };

struct pki {
    const struct kb_pki_config *config;
    int64_t now_s;
    const char *host;
    char hostname[256];
    EVP_PKEY *ca_key;
    X509 *ca;
    bool changed;
    struct kb_err *err;
};

/* What one certificate must be. `names`: a list as OpenSSL's configuration has it; NULL for none.
 */
struct profile {
    const char *file; /* without .crt and .key */
    const char *cn, *org;
    int days;
    const char *basic, *usage, *extended;
    char *names;
};

static void pki_finish(struct pki *pki)
{
    EVP_PKEY_free(pki->ca_key);
    X509_free(pki->ca);
}

static void key_free(EVP_PKEY **key_p)
{
    EVP_PKEY_free(*key_p);
}

static void cert_free(X509 **cert_p)
{
    X509_free(*cert_p);
}

static void bio_free(BIO **bio_p)
{
    BIO_free(*bio_p);
}

static int failed(struct pki *pki, const char *what)
{
    char text[200] = "";
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    return kb_err_set(pki->err, KB_EINTERNAL, "%s: %s", what, text);
}

static char *path_of(const struct pki *pki, const char *file, const char *suffix)
{
    return kb_strf("%s/%s%s", pki->config->dir, file, suffix);
}

/* A BIO over a file's content; NULL when it cannot be read. */
static BIO *open_pem(const char *path)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    if (kb_file_read(path, PEM_MAX_BYTES, &text, NULL) < 0 || text.n == 0)
        return NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    BIO_write(bio, text.p, (int)text.n);
    return bio;
}

static EVP_PKEY *load_key(const char *path)
{
    KB_AUTO(bio_free) BIO *bio = open_pem(path);
    KB_AUTO(key_free) EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || EVP_PKEY_get_bits(key) != 256)
        return NULL;
    return KB_STEAL(key);
}

static X509 *load_cert(const char *path)
{
    KB_AUTO(bio_free) BIO *bio = open_pem(path);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    return cert;
}

static int save_bio(struct pki *pki, const char *path, BIO *bio)
{
    char *text = NULL;
    long n = BIO_get_mem_data(bio, &text);
    return kb_file_write(path, kb_str_n(text, (size_t)n), 0600, pki->err);
}

/* The key of that name: the one that is there when it is good, else a new one. */
static int ensure_key(struct pki *pki, const char *file, EVP_PKEY **ret)
{
    KB_AUTO(kb_auto_free) char *path = path_of(pki, file, ".key");
    KB_AUTO(key_free) EVP_PKEY *key = load_key(path);
    if (key == NULL) {
        key = EVP_EC_gen("P-256");
        KB_AUTO(bio_free) BIO *bio = BIO_new(BIO_s_mem());
        if (key == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
            return failed(pki, "make key");
        int rc = save_bio(pki, path, bio);
        if (rc < 0)
            return rc;
    }
    *ret = KB_STEAL(key);
    return 0;
}

/* Every "DNS:x" and "IP:y" of the list is in the certificate. */
static bool has_names(X509 *cert, const char *names)
{
    kb_str rest = kb_str_of(names);
    while (names && rest.p) {
        kb_str entry = kb_str_cut(&rest, ',');
        kb_str kind = kb_str_cut(&entry, ':');
        KB_AUTO(kb_auto_free) char *name = kb_str_dup(entry);
        bool there = kb_str_is(kind, "DNS") ? X509_check_host(cert, name, 0, 0, NULL) == 1
                                            : X509_check_ip_asc(cert, name, 0) == 1;
        if (!there)
            return false;
    }
    return true;
}

static bool subject_is(X509 *cert, const struct profile *profile)
{
    X509_NAME *name = X509_get_subject_name(cert);
    char cn[128] = "", org[128] = "";
    X509_NAME_get_text_by_NID(name, NID_commonName, cn, sizeof(cn));
    X509_NAME_get_text_by_NID(name, NID_organizationName, org, sizeof(org));
    return strcmp(cn, profile->cn) == 0 && strcmp(org, profile->org ? profile->org : "") == 0;
}

static bool cert_good(struct pki *pki, X509 *cert, EVP_PKEY *key, EVP_PKEY *issuer_key,
                      const struct profile *profile)
{
    if (cert == NULL)
        return false;
    time_t renew_at = (time_t)(pki->now_s + RENEW_DAYS * DAY_S), now = (time_t)pki->now_s;
    bool good = X509_check_private_key(cert, key) == 1 && X509_verify(cert, issuer_key) == 1 &&
                X509_cmp_time(X509_get0_notBefore(cert), &now) < 0 &&
                X509_cmp_time(X509_get0_notAfter(cert), &renew_at) > 0 &&
                subject_is(cert, profile) && has_names(cert, profile->names);
    ERR_clear_error();
    return good;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (value == NULL)
        return true;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and of one length */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return ok;
}

static bool set_subject(X509 *cert, const struct profile *profile)
{
    X509_NAME *name = X509_get_subject_name(cert);
    const unsigned char *org = (const unsigned char *)profile->org;
    const unsigned char *cn = (const unsigned char *)profile->cn;
    return (!org || X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, org, -1, -1, 0) == 1) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, cn, -1, -1, 0) == 1;
}

/* A new certificate. `issuer` NULL: signed by itself. Clocks may differ by an hour. */
static X509 *issue(struct pki *pki, const struct profile *profile, EVP_PKEY *key, X509 *issuer,
                   EVP_PKEY *issuer_key)
{
    KB_AUTO(cert_free) X509 *cert = X509_new();
    time_t now = (time_t)pki->now_s;
    if (cert == NULL || X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) ||
        !X509_time_adj_ex(X509_getm_notBefore(cert), 0, -3600, &now) ||
        !X509_time_adj_ex(X509_getm_notAfter(cert), profile->days, 0, &now) ||
        !set_subject(cert, profile) || X509_set_pubkey(cert, key) != 1 ||
        X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) != 1)
        return NULL;
    X509 *by = issuer ? issuer : cert;
    if (!add_extension(cert, by, NID_basic_constraints, profile->basic) ||
        !add_extension(cert, by, NID_key_usage, profile->usage) ||
        !add_extension(cert, by, NID_ext_key_usage, profile->extended) ||
        !add_extension(cert, by, NID_subject_key_identifier, "hash") ||
        !add_extension(cert, by, NID_authority_key_identifier, issuer ? "keyid:always" : NULL) ||
        !add_extension(cert, by, NID_subject_alt_name, profile->names) ||
        X509_sign(cert, issuer_key, EVP_sha256()) <= 0)
        return NULL;
    return KB_STEAL(cert);
}

/* Key and certificate of a profile; ret_key and ret_cert may be NULL. */
static int ensure_pair(struct pki *pki, const struct profile *profile, EVP_PKEY **ret_key,
                       X509 **ret_cert)
{
    KB_AUTO(key_free) EVP_PKEY *key = NULL;
    int rc = ensure_key(pki, profile->file, &key);
    if (rc < 0)
        return rc;
    EVP_PKEY *issuer_key = pki->ca_key ? pki->ca_key : key;
    KB_AUTO(kb_auto_free) char *path = path_of(pki, profile->file, ".crt");
    KB_AUTO(cert_free) X509 *cert = load_cert(path);
    if (!cert_good(pki, cert, key, issuer_key, profile)) {
        X509_free(cert);
        cert = issue(pki, profile, key, pki->ca, issuer_key);
        KB_AUTO(bio_free) BIO *bio = BIO_new(BIO_s_mem());
        if (cert == NULL || PEM_write_bio_X509(bio, cert) != 1)
            return failed(pki, "issue certificate");
        if ((rc = save_bio(pki, path, bio)) < 0)
            return rc;
        pki->changed = true;
    }
    if (ret_key)
        *ret_key = KB_STEAL(key);
    if (ret_cert)
        *ret_cert = KB_STEAL(cert);
    return 0;
}

static int ensure_service_account_key(struct pki *pki)
{
    KB_AUTO(key_free) EVP_PKEY *key = NULL;
    int rc = ensure_key(pki, "sa", &key);
    if (rc < 0)
        return rc;
    KB_AUTO(kb_auto_free) char *path = path_of(pki, "sa", ".pub");
    KB_AUTO(kb_buf_finish) struct kb_buf there = {0};
    KB_AUTO(bio_free) BIO *bio = BIO_new(BIO_s_mem());
    if (PEM_write_bio_PUBKEY(bio, key) != 1)
        return failed(pki, "write public key");
    char *text = NULL;
    size_t n = (size_t)BIO_get_mem_data(bio, &text);
    if (kb_file_read(path, PEM_MAX_BYTES, &there, NULL) == 0 &&
        kb_str_eq(kb_buf_str(&there), kb_str_n(text, n)))
        return 0;
    return save_bio(pki, path, bio);
}

static bool is_ip(const char *text)
{
    unsigned char out[16];
    return inet_pton(AF_INET, text, out) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

/* A host name that can stand in a certificate (and in OpenSSL's list syntax). */
static bool is_dns(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    return text[0] != '\0' && strlen(text) <= 253 && text[strspn(text, allowed)] == '\0';
}

static char *server_names(const struct pki *pki)
{
    struct kb_buf names = {0};
    kb_buf_puts(&names, "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
                        "DNS:kubernetes.default.svc.cluster.local,DNS:localhost,"
                        "IP:127.0.0.1,IP:::1,IP:10.96.0.1");
    if (is_dns(pki->hostname))
        kb_buf_printf(&names, ",DNS:%s", pki->hostname);
    if (is_ip(pki->host))
        kb_buf_printf(&names, ",IP:%s", pki->host);
    else if (is_dns(pki->host))
        kb_buf_printf(&names, ",DNS:%s", pki->host);
    return kb_buf_steal(&names, NULL);
}

static int add_file(struct pki *pki, struct kb_buf *out, const char *key, const char *file,
                    const char *suffix)
{
    KB_AUTO(kb_auto_free) char *path = path_of(pki, file, suffix);
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    int rc = kb_file_read(path, PEM_MAX_BYTES, &text, pki->err);
    if (rc < 0)
        return rc;
    kb_buf_printf(out, "    %s: ", key);
    kb_base64_encode(kb_buf_str(&text), out);
    kb_buf_putc(out, '\n');
    return 0;
}

static int ensure_kubeconfig(struct pki *pki)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0}, there = {0};
    bool v6 = strchr(pki->host, ':') != NULL;
    int rc = 0;
    kb_buf_puts(&out, "apiVersion: v1\nkind: Config\nclusters:\n- name: kubus\n  cluster:\n");
    if ((rc = add_file(pki, &out, "certificate-authority-data", "ca", ".crt")) < 0)
        return rc;
    kb_buf_printf(&out, "    server: https://%s%s%s:%d\n", v6 ? "[" : "", pki->host, v6 ? "]" : "",
                  pki->config->port);
    kb_buf_puts(&out, "contexts:\n- name: kubus\n  context:\n    cluster: kubus\n"
                      "    user: kubernetes-admin\ncurrent-context: kubus\n"
                      "users:\n- name: kubernetes-admin\n  user:\n");
    if ((rc = add_file(pki, &out, "client-certificate-data", "admin", ".crt")) < 0 ||
        (rc = add_file(pki, &out, "client-key-data", "admin", ".key")) < 0)
        return rc;
    if (kb_file_read(pki->config->kubeconfig, PEM_MAX_BYTES, &there, NULL) == 0 &&
        kb_str_eq(kb_buf_str(&there), kb_buf_str(&out)))
        return 0;
    return kb_file_write(pki->config->kubeconfig, kb_buf_str(&out), 0600, pki->err);
}

static int lock(struct pki *pki, int *ret_fd)
{
    KB_AUTO(kb_auto_free) char *path = path_of(pki, ".lock", "");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        int saved = errno;
        kb_auto_close(&fd);
        return kb_err_sys(pki->err, saved, "lock '%s'", path);
    }
    *ret_fd = fd;
    return 0;
}

static int ensure_all(struct pki *pki)
{
    static const char ca_usage[] = "critical,digitalSignature,keyEncipherment,keyCertSign";
    static const char leaf_usage[] = "critical,digitalSignature";
    KB_AUTO(kb_auto_free) char *names = server_names(pki);
    struct profile ca = {"ca",     "kubernetes", NULL, CA_DAYS, "critical,CA:TRUE",
                         ca_usage, NULL,         NULL};
    struct profile server = {"apiserver",         "kube-apiserver", NULL,         LEAF_DAYS,
                             "critical,CA:FALSE", leaf_usage,       "serverAuth", NULL};
    struct profile admin = {"admin",
                            "kubernetes-admin",
                            "system:masters",
                            LEAF_DAYS,
                            "critical,CA:FALSE",
                            leaf_usage,
                            "clientAuth",
                            NULL};
    server.names = names;
    EVP_PKEY *ca_key = NULL;
    X509 *ca_cert = NULL;
    int rc = ensure_pair(pki, &ca, &ca_key, &ca_cert);
    if (rc < 0)
        return rc;
    pki->ca_key = ca_key;
    pki->ca = ca_cert;
    if ((rc = ensure_pair(pki, &server, NULL, NULL)) < 0 ||
        (rc = ensure_pair(pki, &admin, NULL, NULL)) < 0 ||
        (rc = ensure_service_account_key(pki)) < 0)
        return rc;
    return pki->config->kubeconfig ? ensure_kubeconfig(pki) : 0;
}

int kb_pki_ensure(const struct kb_pki_config *config, bool *ret_changed, struct kb_err *err)
{
    KB_AUTO(pki_finish)
    struct pki pki = {.config = config, .now_s = config->wall_us / 1000000, .err = err};
    KB_AUTO(kb_auto_close) int lock_fd = -1;
    static const char *const any[] = {"", "0.0.0.0", "::", "[::]"};
    pki.host = config->host ? config->host : "";
    for (size_t i = 0; i < KB_COUNT(any); i++)
        if (strcmp(pki.host, any[i]) == 0)
            pki.host = "127.0.0.1";
    if (config->hostname)
        kb_str_copy(kb_str_of(config->hostname), pki.hostname, sizeof(pki.hostname));
    else
        gethostname(pki.hostname, sizeof(pki.hostname) - 1);
    int rc = kb_dir_make(config->dir, 0700, err);
    if (rc < 0 || (rc = lock(&pki, &lock_fd)) < 0 || (rc = ensure_all(&pki)) < 0)
        return kb_err_wrap(err, "certificates");
    if (ret_changed)
        *ret_changed = pki.changed;
    return 0;
}
