#include "conf/conf_acme.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

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
    static const char *const names[CHALLENGE_TYPES] = {[CHALLENGE_TLS_ALPN_01] = "tls-alpn-01",
                                                       [CHALLENGE_HTTP_01] = "http-01",
                                                       [CHALLENGE_DNS_01] = "dns-01",
                                                       [CHALLENGE_DNS_PERSIST_01] = "dns-persist-01"};
    return (unsigned)type < CHALLENGE_TYPES ? names[type] : "unknown";
}

/* Both sides of a comparison are our own: the key is no secret. */
static uint64_t hash_text(uint64_t seed, const char *s) {
    const struct hash_key key = {seed, UINT64_C(0x746c732d6f666600)};
    return hash_bytes(&key, span_str(s));
}

void issuer_shared_name(const struct conf_issuer *i, char to[static CONF_SHARED_NAME_MAX]) {
    uint64_t h = hash_text(hash_text(1, i->directory), i->eab_kid ? i->eab_kid : "");
    (void)snprintf(to, CONF_SHARED_NAME_MAX, "account-%016llx", (unsigned long long)h); /* has room */
}

const char *managed_first_name(const struct conf_managed *c) {
    const char *first = c->names[0];
    for (size_t i = 1; i < c->nnames; i++)
        first = strcmp(c->names[i], first) < 0 ? c->names[i] : first;
    return first;
}

uint64_t issuer_number(const struct conf_issuer *i) {
    return hash_text(hash_text(4, i->directory), i->name);
}

uint64_t managed_names_number(const struct conf_managed *c) {
    uint64_t names = 0;
    for (size_t i = 0; i < c->nnames; i++)
        names += hash_text(3, c->names[i]);
    return names;
}

/* Names are the same in whatever order; that of issuers matters. */
void managed_shared_name(const struct conf_acme *a, const struct conf_managed *c, char to[static CONF_SHARED_NAME_MAX]) {
    uint64_t names = managed_names_number(c), h = 2;
    for (size_t i = 0; i < c->nissuers; i++)
        h = hash_text(h, a->issuers[c->issuers[i]].directory);
    (void)snprintf(to, CONF_SHARED_NAME_MAX, "%.100s-%s-%016llx", managed_first_name(c), managed_key_name(c->key),
                   (unsigned long long)(names ^ h)); /* cut is fine: the number distinguishes them */
}

size_t conf_find_issuer(const struct conf_acme *a, const char *name) {
    size_t i = 0;
    while (i < a->nissuers && strcmp(a->issuers[i].name, name) != 0)
        i++;
    return i;
}
