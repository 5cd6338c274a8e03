#include "conf/foreign_words.h"

#include <stddef.h>
#include <strings.h>

#include "base/defs.h"

/* OpenSSL's names: openssl-ciphers(1), openssl-ecparam(1). Balancing: HAProxy, nginx, Envoy. */
static const char *const words[][2] = {
    {"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
    {"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    {"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
    {"prime256v1", "secp256r1"},
    {"NIST P-256", "secp256r1"},
    {"X25519_MLKEM768", "X25519MLKEM768"},
    {"TLSv1.2", "1.2"},
    {"TLS1.2", "1.2"},
    {"TLS 1.2", "1.2"},
    {"TLSv1_2", "1.2"},
    {"TLSv1.3", "1.3"},
    {"TLS1.3", "1.3"},
    {"TLS 1.3", "1.3"},
    {"TLSv1_3", "1.3"},
    {"leastconn", "least-sessions"},
    {"least_conn", "least-sessions"},
    {"roundrobin", "round-robin"},
    {"round_robin", "round-robin"},
    {"source", "client-hash"},
    {"ip_hash", "client-hash"},
    {"require", "required"},
    {"on", "required"},
    {"off", "none"},
    {"tcp", "passthrough"},
    {"pgsql", "postgresql"},
    {"postgres", "postgresql"},
    {"managesieve", "sieve"},
    {"xmpp", "xmpp-client"},
};

const char *foreign_word(const char *text) {
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(text, words[i][0]) == 0)
            return words[i][1];
    return NULL;
}
