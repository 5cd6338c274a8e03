#include "conf/conf_acme.h"

#include <arpa/inet.h>

size_t managed_name_address(const char *name, uint8_t to[static 16]) {
    return inet_pton(AF_INET, name, to) == 1 ? 4 : inet_pton(AF_INET6, name, to) == 1 ? 16 : 0;
}

const char *managed_key_name(enum managed_key key) {
    static const char *const names[MANAGED_KEYS] = {
        [MANAGED_ECDSA_P256] = "ecdsa-p256", [MANAGED_ECDSA_P384] = "ecdsa-p384", [MANAGED_RSA_2048] = "rsa-2048",
        [MANAGED_RSA_3072] = "rsa-3072",     [MANAGED_RSA_4096] = "rsa-4096",
    };
    return (unsigned)key < MANAGED_KEYS ? names[key] : "unknown";
}

const char *challenge_type_name(enum challenge_type type) {
    static const char *const names[CHALLENGE_TYPES] = {
        [CHALLENGE_TLS_ALPN_01] = "tls-alpn-01", [CHALLENGE_HTTP_01] = "http-01", [CHALLENGE_DNS_01] = "dns-01"};
    return (unsigned)type < CHALLENGE_TYPES ? names[type] : "unknown";
}
