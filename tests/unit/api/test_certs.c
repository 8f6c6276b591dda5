/* A certificate that is renewed while the server runs. */
#include "tests/unit/api/http_fixture.h"

#include <unistd.h>

/* When the certificate that this client was shown ends. */
static int64_t days_left(const struct client *client)
{
    int days = 0, seconds = 0;
    X509 *cert = SSL_get0_peer_certificate(client->ssl);
    KB_CHECK(cert != NULL && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) == 1);
    return days;
}

static void renew(struct client *client, const char *path, const char *want)
{
    KB_AUTO(answer_finish) struct answer answer = get(client, path);
    KB_CHECK_STR(answer.body.p, want);
}

KB_TEST(certs, are_renewed_before_they_end_and_nobody_is_disconnected)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client before = dial(&served, ADMIN_CERT);
    int64_t days = days_left(&before);
    KB_CHECK_I64(days, >, 300);
    renew(&before, "/renew?days=0", "good");
    renew(&before, "/renew?days=340", "renewed");
    renew(&before, "/renew?days=340", "good"); /* on the connection of before */
    served.ahead_days = 340;
    KB_AUTO(client_close) struct client after = dial(&served, NO_CERT);
    KB_CHECK_I64(days_left(&after), >=, days + 339);
    KB_AUTO(answer_finish) struct answer hello = get(&after, "/hello");
    KB_CHECK_STR(hello.body.p, "hello\n");
}

KB_TEST(certs, that_cannot_be_written_leave_the_old_ones_in_use)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client client = dial(&served, ADMIN_CERT);
    char moved[300];
    snprintf(moved, sizeof(moved), "%s.away", served.dir);
    KB_CHECK(rename(served.dir, moved) == 0);
    FILE *in_the_way = fopen(served.dir, "w");
    KB_CHECK(in_the_way != NULL && fclose(in_the_way) == 0);
    KB_AUTO(answer_finish) struct answer answer = get(&client, "/renew?days=340");
    KB_CHECK(strcmp(answer.body.p, "renewed") != 0 && strcmp(answer.body.p, "good") != 0);
    KB_CHECK(unlink(served.dir) == 0 && rename(moved, served.dir) == 0);
    KB_AUTO(client_close) struct client same = dial(&served, ADMIN_CERT);
    renew(&same, "/renew?days=340", "renewed");
}
