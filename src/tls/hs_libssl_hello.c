#include "tls/hs_libssl_hello.h"

#include "base/err.h"
#include "base/rd.h"
#include "tls/hello_pair.h"
#include "tls/hs_libssl.h"

/* Each costs about what a handshake does; clients send a handful of shares and tickets, and lists that are short or empty. */
#define SHARE_LOOKUPS_MAX          (1 << 20) /* of shares in the list of groups */
#define TICKETS_MAX                100
#define SUITES_MAX                 4096
#define CERT_SIGALGS_MAX           1024 /* signature_algorithms_cert: searched for each scheme that we share, and each certificate */
#define HS_LIBSSL_HELLO_STATUS_MAX 2048        /* bytes of status_request: names of responders, extensions */
#define AUTHORITIES_MAX            (16 * 1024) /* bytes of certificate_authorities */

static size_t count_shares(const struct hello *h) {
    size_t n = 0;
    for (struct rd r = rd_of(h->key_shares); rd_left(&r) > 0; n++) {
        (void)rd_u16(&r);
        (void)rd_vec16(&r);
    }
    return n;
}

static size_t count_tickets(const struct hello *h) {
    size_t n = 0;
    for (struct rd r = rd_of(h->psk_identities); rd_left(&r) > 0; n++) {
        (void)rd_vec16(&r);
        (void)rd_u32(&r);
    }
    return n;
}

int hs_libssl_bears(const struct hello *h) {
    bool few = count_shares(h) * (h->groups.len / 2) <= SHARE_LOOKUPS_MAX && count_tickets(h) <= TICKETS_MAX &&
               h->suites.len / 2 <= SUITES_MAX && h->sigalgs_cert.len / 2 <= CERT_SIGALGS_MAX &&
               h->status_request.len <= HS_LIBSSL_HELLO_STATUS_MAX && h->authorities.len <= AUTHORITIES_MAX;
    return few ? 0 : ERR_LIMIT;
}

int hs_libssl_judge_second(const struct hs_libssl *h, struct span message) {
    struct hello hello;
    struct span share;
    uint16_t group = 0; /* libssl looks whether it is the one it asked for */
    int err = hello_parse(message, &hello);
    if (err == 0)
        err = hello_judge_second(&hello, h->pinned, &group, &share);
    if (err == 0)
        err = tls_server_check(h->server, &hello);
    return err ? err : hs_libssl_bears(&hello);
}
