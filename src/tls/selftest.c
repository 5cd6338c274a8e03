/*
 * One TLS 1.3 handshake with ourselves in memory, before clients come: does our provider give the secrets of libssl's key log?
 * By a service like the one in question: whatever that one asks of clients, this client is ourselves.
 */
#include "tls/hs_libssl.h"
#include "tls/hs_libssl_server.h"
#include "tls/selftest_service.h"
#include "tls/selftest_talk.h"

void tls_server_spare_selftest(struct tls_server *s) {
    hs_libssl_server_end_key_log(s->ctx);
}

bool tls_server_selftest(struct tls_server *s) {
    const struct tls_policy p = {.name = SELFTEST_SERVICE,
                                 .min_version = s->min_version,
                                 .suites = s->suites,
                                 .nsuites = s->nsuites,
                                 .groups = s->groups,
                                 .ngroups = s->ngroups};
    struct selftest_service twin;
    struct selftest_talk t;
    bool agree = selftest_service_open(&twin, &p);
    agree = selftest_talk_open(&t) && agree; /* both are closed */
    agree = agree && selftest_talk_begin(&t, twin.server, &(struct selftest_offer){0}) && selftest_talk_on(&t) &&
            hs_libssl_secrets_agree(hs_libssl_of(t.server));
    if (agree)
        tls_server_spare_selftest(s);
    selftest_talk_close(&t);
    selftest_service_close(&twin);
    return agree;
}
