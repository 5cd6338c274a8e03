#include "tls/ticket_bind.h"

#include <string.h>

#include "tls/handshake.h"
#include "tls/sha2.h"

static void end_binding(union sha2 *s, uint8_t ret[static TICKET_BIND_LEN]) {
    uint8_t digest[HASH_LEN_MAX];
    sha2_end(HASH_SHA256, s, digest);
    memcpy(ret, digest, TICKET_BIND_LEN);
}

/* Machines of a fleet are of one kind: numbers are hashed as they lie in memory. */
void ticket_bind_service(const struct tls_policy *p, uint8_t ret[static TICKET_BIND_LEN]) {
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    sha2_add_part(HASH_SHA256, &s, span_str("tls-off ticket 1"));
    sha2_add_part(HASH_SHA256, &s, span_str(p->name));
    sha2_add_part(HASH_SHA256, &s, span_of(&p->min_version, sizeof(p->min_version)));
    sha2_add_part(HASH_SHA256, &s, span_of(p->suites, p->nsuites * sizeof(*p->suites)));
    end_binding(&s, ret);
}

void ticket_bind_rules(const uint8_t service[static TICKET_BIND_LEN], struct span rules, uint8_t ret[static TICKET_BIND_LEN]) {
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    sha2_add_part(HASH_SHA256, &s, span_of(service, TICKET_BIND_LEN));
    sha2_add_part(HASH_SHA256, &s, rules);
    end_binding(&s, ret);
}

void ticket_bind_name(const uint8_t service[static TICKET_BIND_LEN], const char *sni, uint8_t ret[static TICKET_BIND_LEN]) {
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    sha2_add(HASH_SHA256, &s, service, TICKET_BIND_LEN);
    sha2_add(HASH_SHA256, &s, sni, strlen(sni));
    end_binding(&s, ret);
}
