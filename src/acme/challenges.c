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

void challenge_asked_name(enum challenge_type type, const char *name, struct text *to) {
    uint8_t ip[16];
    size_t ip_len = managed_name_address(name, ip);
    if (ip_len && type == CHALLENGE_TLS_ALPN_01)
        add_reverse(to, ip, ip_len);
    else
        text_add(to, name);
}

struct span challenge_shared_name(const struct challenge *c, char to[static CHALLENGE_SHARED_MAX]) {
    struct text t = text_of(to, CHALLENGE_SHARED_MAX);
    text_addf(&t, "%s/%s", challenge_type_name(c->type), c->type == CHALLENGE_HTTP_01 ? c->token : c->name);
    return span_of(t.p, t.len);
}

struct span challenge_pack(const struct challenge *c, char to[static CHALLENGE_SHARED_MAX]) {
    struct text t = text_of(to, CHALLENGE_SHARED_MAX);
    text_addf(&t, "%s %s", c->identifier, c->key_authorization);
    return span_of(t.p, t.len);
}

bool challenge_unpack(struct span data, struct challenge *ret) {
    *ret = (struct challenge){.type = CHALLENGE_TYPES};
    const uint8_t *blank = data.len ? memchr(data.p, ' ', data.len) : NULL;
    size_t len = blank ? (size_t)(blank - data.p) : 0;
    struct text i = text_of(ret->identifier, sizeof(ret->identifier)),
                a = text_of(ret->key_authorization, sizeof(ret->key_authorization));
    if (!len)
        return false;
    text_add_span(&i, span_of(data.p, len));
    text_add_span(&a, span_of(blank + 1, data.len - len - 1));
    for (size_t k = 0; k < data.len; k++) /* it goes into an HTTP answer */
        if (data.p[k] < ' ' || data.p[k] > '~')
            return false;
    return !i.cut && !a.cut && a.len > 0;
}

struct span challenge_thumbprint(const struct challenge *c) {
    const char *dot = strrchr(c->key_authorization, '.');
    return span_str(dot ? dot + 1 : "");
}

int challenges_offer(struct challenges *c, const void *owner, enum challenge_type type, const char *name, const char *token,
                     const char *thumbprint) {
    size_t at = 0;
    while (at < c->n && (c->list[at].owner || c->list[at].record))
        at++;
    if (at == CHALLENGES_MAX)
        return ERR_LIMIT;
    struct challenge *to = &c->list[at];
    if (!is_token(token))
        return ERR_FORMAT;
    *to = (struct challenge){.type = type};
    struct text n = text_of(to->name, sizeof(to->name)), a = text_of(to->key_authorization, sizeof(to->key_authorization));
    challenge_asked_name(type, name, &n);
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
