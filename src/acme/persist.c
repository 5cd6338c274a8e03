#include "acme/persist.h"

#include <string.h>

#define DOMAINS_MAX    10  /* of a challenge: 3.1 */
#define IDENTITIES_MAX 100 /* for CAA */
#define DOMAIN_MAX     253

static bool is_domain(const char *s) {
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= DOMAIN_MAX && s[n - 1] != '.' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.")] == 0;
}

/* 3.1: names in lower case, without a dot at the end. */
static bool are_domains(const json_t *list, size_t max) {
    size_t n = json_array_size(list);
    bool ok = n > 0 && n <= max;
    for (size_t i = 0; i < n && ok; i++)
        ok = is_domain(json_string_value(json_array_get(list, i)));
    return ok;
}

static bool has_domain(const json_t *list, const char *domain) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), domain) == 0)
            return true;
    return false;
}

/* The first of SOME that is not in ALL; NULL = all are. */
static const char *missing_domain(const json_t *some, const json_t *all) {
    for (size_t i = 0; i < json_array_size(some); i++) {
        const char *domain = json_string_value(json_array_get(some, i));
        if (!has_domain(all, domain))
            return domain;
    }
    return NULL;
}

void persist_take_directory(struct ca *c, const json_t *directory) {
    const json_t *meta = json_object_get(directory, "meta");
    json_t *domains = json_object_get(meta, "issuerDomainNames"), *caa = json_object_get(meta, "caaIdentities");
    const char *prefix = json_string_value(json_object_get(meta, "accountHashPrefix"));
    json_decref(c->domains);
    json_decref(c->caa);
    c->domains = are_domains(domains, DOMAINS_MAX) ? json_incref(domains) : NULL;
    c->caa = are_domains(caa, IDENTITIES_MAX) ? json_incref(caa) : NULL;
    struct text t = text_of(c->hash_prefix, sizeof(c->hash_prefix));
    text_add(&t, prefix ? prefix : "");
    if (t.cut)
        c->hash_prefix[0] = 0;
}

const char *persist_domain(const struct ca *c) {
    const char *first = json_string_value(json_array_get(c->domains ? c->domains : c->caa, 0));
    return first ? first : "";
}

bool persist_answers(const struct ca *c, const json_t *challenge, struct text *why) {
    const json_t *domains = json_object_get(challenge, "issuerDomainNames"), *older = NULL;
    if (!domains)
        domains = older = json_object_get(challenge, "issuer-domain-names"); /* -01 */
    const char *ours = persist_domain(c);
    if (!are_domains(domains, DOMAINS_MAX)) {
        text_addf(why, "found no 1 to %d names of the issuer in lower case", DOMAINS_MAX);
        return false;
    }
    const char *lacks = ours[0] && !has_domain(domains, ours) ? ours : missing_domain(c->domains, domains);
    const char *foreign = c->caa && !older ? missing_domain(domains, c->caa) : NULL;
    if (lacks)
        text_addf(why, "found none of the issuer's names that is \"%s\", as its directory says", lacks);
    else if (foreign)
        text_addf(why, "found the name \"%s\", which is none of the directory's caaIdentities", foreign);
    return !lacks && !foreign;
}
