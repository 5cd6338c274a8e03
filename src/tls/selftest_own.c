#include "tls/selftest_own.h"

#include "base/secret.h"
#include "tls/selftest_service.h"
#include "tls/selftest_talk.h"

/* What the client asks for, and what becomes of it. */
struct trial {
    struct selftest_offer offer;
    uint16_t suite, group;
};

static const struct trial trials[] = {
    {{"TLS_AES_128_GCM_SHA256", "X25519", false}, 0x1301, 0x001d},
    {{"TLS_AES_128_GCM_SHA256", "P-384:X25519", true}, 0x1301, 0x001d}, /* P-384 is not of this service: a retry */
    {{"TLS_CHACHA20_POLY1305_SHA256", "P-256", false}, 0x1303, 0x0017},
    {{"TLS_AES_256_GCM_SHA384", "P-384:P-256", false}, 0x1302, 0x0017},
    {{"TLS_AES_256_GCM_SHA384", "X25519", true}, 0x1302, 0x001d},
};

static bool agrees_with_trial(const struct trial *trial, const struct selftest_talk *t, const struct handshake_result *r) {
    size_t len = hash_len(suite_by_id(r->suite)->hash);
    return handshake_is_own(t->server) && r->suite == trial->suite && r->group == trial->group &&
           r->resumed == trial->offer.resumes && selftest_talk_resumed(t) == trial->offer.resumes &&
           secret_eq(r->record_layer.in.secret, t->client_secret, len) &&
           secret_eq(r->record_layer.out.secret, t->server_secret, len);
}

static bool try(const struct trial *trial, struct selftest_talk *t, const struct tls_server *s) {
    struct handshake_result r;
    if (!selftest_talk_begin(t, s, &trial->offer) || !selftest_talk_on(t) || !selftest_talk_take_ticket(t) ||
        handshake_finish(t->server, &r) < 0)
        return false;
    bool good = agrees_with_trial(trial, t, &r);
    record_layer_wipe(&r.record_layer);
    return good;
}

bool selftest_own(void) {
    static const uint16_t suites[] = {0x1301, 0x1302, 0x1303}, groups[] = {0x001d, 0x0017};
    const struct tls_policy p = {.name = SELFTEST_SERVICE,
                                 .min_version = TLS_1_3,
                                 .suites = suites,
                                 .nsuites = ARRAY_LEN(suites),
                                 .groups = groups,
                                 .ngroups = ARRAY_LEN(groups),
                                 .own_tls13 = true};
    struct selftest_service s;
    struct selftest_talk t;
    bool good = selftest_service_open(&s, &p);
    good = selftest_talk_open(&t) && good; /* both are closed */
    for (size_t i = 0; i < ARRAY_LEN(trials) && good; i++)
        good = try(&trials[i], &t, s.server);
    selftest_talk_close(&t);
    selftest_service_close(&s);
    return good;
}
