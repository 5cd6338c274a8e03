#include "acme/challenges.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "acme/records.h"
#include "acme/webroot.h"
#include "base/err.h"
#include "base/text.h"

/* RFC 8738 6, RFC 3596 2.5. */
static void add_reverse(struct text *t, const uint8_t *ip, size_t len) {
    for (size_t i = len; i-- > 0;)
        if (len == 4)
            text_addf(t, "%u.", ip[i]);
        else
            text_addf(t, "%x.%x.", ip[i] & 15, ip[i] >> 4);
    text_add(t, len == 4 ? "in-addr.arpa" : "ip6.arpa");
}

/* RFC 8555 8.1: base64url. */
static bool is_token(const char *token) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strlen(token);
    return len > 0 && len <= CHALLENGE_TOKEN_MAX && strspn(token, alphabet) == len;
}

int challenges_offer(struct challenges *c, const void *owner, enum challenge_type type, const char *name, const char *token,
                     const char *thumbprint) {
    uint8_t ip[16];
    size_t at = 0, ip_len = managed_name_address(name, ip);
    while (at < c->n && (c->list[at].owner || c->list[at].record))
        at++;
    if (at == CHALLENGES_MAX)
        return ERR_LIMIT;
    struct challenge *to = &c->list[at];
    if (!is_token(token))
        return ERR_FORMAT;
    *to = (struct challenge){.type = type};
    struct text n = text_of(to->name, sizeof(to->name)), a = text_of(to->key_authorization, sizeof(to->key_authorization));
    if (ip_len && type == CHALLENGE_TLS_ALPN_01)
        add_reverse(&n, ip, ip_len);
    else
        text_add(&n, name);
    memcpy(to->token, token, strlen(token) + 1);
    text_addf(&a, "%s.%s", token, thumbprint);
    struct text i = text_of(to->identifier, sizeof(to->identifier));
    text_add(&i, name);
    if (n.cut || a.cut || i.cut)
        return ERR_FORMAT;
    if (c->webroot && type == CHALLENGE_HTTP_01 && webroot_put(c->webroot, token, span_of(a.p, a.len)) < 0)
        return ERR_SYSTEM;
    to->owner = owner;
    c->n = MAX(c->n, at + 1);
    return 0;
}

void challenges_withdraw(struct challenges *c, const void *owner) {
    for (size_t i = 0; i < c->n; i++) {
        struct challenge *at = &c->list[i];
        if (at->owner != owner)
            continue;
        if (c->webroot && at->type == CHALLENGE_HTTP_01)
            webroot_remove(c->webroot, at->token);
        at->owner = NULL;
        if (at->record)
            records_release(c, at);
    }
}

struct challenge *challenges_of(struct challenges *c, const void *owner, enum challenge_type type, const char *token) {
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].owner == owner && c->list[i].type == type && strcmp(c->list[i].token, token) == 0)
            return &c->list[i];
    return NULL;
}

struct challenge *challenges_by_name(struct challenges *c, enum challenge_type type, struct span name) {
    for (size_t i = 0; i < c->n; i++) {
        struct challenge *at = &c->list[i];
        if (at->owner && at->type == type && strlen(at->name) == name.len &&
            strncasecmp(at->name, (const char *)name.p, name.len) == 0)
            return at;
    }
    return NULL;
}

struct challenge *challenges_by_token(struct challenges *c, struct span token) {
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].owner && c->list[i].type == CHALLENGE_HTTP_01 && span_eq(span_str(c->list[i].token), token))
            return &c->list[i];
    return NULL;
}
