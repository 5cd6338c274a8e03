#include "cli/acme_record.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/base64url.h"
#include "cli/dns_txt.h"

#define LABEL      "_validation-persist"
#define METHOD     "dns-persist-01"
#define STRING_MAX 255 /* of a TXT record: RFC 1035 3.3 */
#define VALUE_MAX  4096

/* 4.1: of the length of the name, the name, the key's thumbprint and the account's URL. */
static void add_hash(struct text *to, const struct acme_record *r) {
    uint8_t digest[SHA256_DIGEST_LENGTH], input[1 + 255 + VALUE_MAX];
    char rest[VALUE_MAX];
    size_t len = strnlen(r->name, 255);
    struct text t = text_of(rest, sizeof(rest));
    text_addf(&t, "%s%s", r->thumbprint, r->account);
    input[0] = (uint8_t)len;
    memcpy(input + 1, r->name, len);
    memcpy(input + 1 + len, t.p, t.len);
    SHA256(input, 1 + len + t.len, digest);
    base64url_add(to, span_of(digest, sizeof(digest)));
}

void acme_record_value(const struct acme_record *r, struct text *to) {
    text_addf(to, "%s; accounturi=", r->domain);
    if (r->hash_prefix[0]) {
        text_addf(to, "%ssha-256/", r->hash_prefix);
        add_hash(to, r);
    } else {
        text_add(to, r->account);
    }
    if (r->wildcard)
        text_add(to, "; policy=wildcard");
}

void acme_record_quote(const char *value, struct text *to) {
    size_t len = strlen(value);
    for (size_t at = 0; at < len; at += STRING_MAX)
        text_addf(to, "%s\"%.*s\"", at ? " " : "", STRING_MAX, value + at);
}

/* Blanks mean nothing in it (RFC 8659 4.2). */
static void squeeze(struct span s, char to[static VALUE_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < s.len && n < VALUE_MAX - 1; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t')
            to[n++] = (char)s.p[i];
    to[n] = 0;
}

struct record_search {
    char wanted[VALUE_MAX];
    unsigned seen;
    bool found;
};

/* One that says more, like until when it holds, says the same. */
static void compare_text(void *ctx, struct span text) {
    struct record_search *s = ctx;
    char have[VALUE_MAX];
    size_t len = strlen(s->wanted);
    squeeze(text, have);
    s->seen++;
    s->found = s->found || (strncmp(have, s->wanted, len) == 0 && (have[len] == 0 || have[len] == ';'));
}

/* NULL when the look-up says nothing; a line on stderr says why. */
static const char *look_up_record(const char *record, const char *value, json_t *o) {
    char reason[512];
    struct text why = text_of(reason, sizeof(reason));
    static struct record_search s;
    s = (struct record_search){.seen = 0};
    squeeze(span_str(value), s.wanted);
    if (!dns_txt_ask(record, compare_text, &s, &why)) {
        fprintf(stderr, "tls-off acme record: %s\n", reason);
        return NULL;
    }
    (void)json_object_set_new(o, "published", json_boolean(s.found)); /* out of memory shows as its lack */
    return s.found  ? "published"
           : s.seen ? "not published: other TXT records are there"
                    : "not published: no TXT record is there";
}

/* Whether the certificate has NAME, or the wildcard below it. */
static bool cert_covers(const json_t *cert, const char *name, bool *ret_wildcard) {
    const json_t *names = json_object_get(cert, "names");
    bool has = false;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *n = json_string_value(json_array_get(names, i));
        bool wildcard = n && strncmp(n, "*.", 2) == 0;
        if (!n || strcasecmp(n + (wildcard ? 2 : 0), name) != 0)
            continue;
        has = true;
        *ret_wildcard |= wildcard;
    }
    return has;
}

static bool lists(const json_t *array, const char *text) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *s = json_string_value(json_array_get(array, i));
        if (s && strcmp(s, text) == 0)
            return true;
    }
    return false;
}

/* Some certificate of the issuer has the name. */
static bool issues(const json_t *top, const char *issuer, const char *name, bool *ret_wildcard) {
    const json_t *certs = json_object_get(top, "certificates");
    bool has = false;
    for (size_t i = 0; i < json_array_size(certs); i++) {
        const json_t *cert = json_array_get(certs, i);
        if (lists(json_object_get(cert, "issuers"), issuer))
            has |= cert_covers(cert, name, ret_wildcard);
    }
    return has;
}

/* What comes from an issuer is printed to be copied: nothing in it may end the text, or begin another parameter. */
static bool is_plain(const char *s) {
    for (; *s; s++)
        if (*s <= ' ' || *s > '~' || strchr("\"\\;", *s))
            return false;
    return true;
}

static const char *what_lacks(const struct acme_record *r) {
    return !r->account[0] ? "its account is not known yet: the first order makes it (`tls-off acme status`)"
           : !r->domain[0]
               ? "its directory is not read yet, or names no issuer (issuerDomainNames, caaIdentities) and does not offer " METHOD
           : r->hash_prefix[0] && !r->thumbprint[0] ? "the account's key is not known yet"
           : !is_plain(r->account) || !is_plain(r->hash_prefix) || !is_plain(r->domain)
               ? "its account, or its name, has characters that no record may have"
               : NULL;
}

/* One issuer's. The exit status. */
static int show_one(const json_t *issuer, const char *name, bool wildcard, bool check, json_t *list) {
    const char *id = admin_text(issuer, "issuer");
    const struct acme_record r = {.domain = admin_text(issuer, "issuer_domain"),
                                  .account = admin_text(issuer, "account"),
                                  .thumbprint = admin_text(issuer, "account_thumbprint"),
                                  .hash_prefix = admin_text(issuer, "account_hash_prefix"),
                                  .name = name,
                                  .wildcard = wildcard};
    const char *lacks = what_lacks(&r), *found = NULL;
    if (lacks) {
        fprintf(stderr, "tls-off acme record: %s: %s\n", id, lacks);
        return EXIT_INPUT;
    }
    char value[VALUE_MAX], record[512], quoted[VALUE_MAX + 64];
    struct text v = text_of(value, sizeof(value)), n = text_of(record, sizeof(record)), q = text_of(quoted, sizeof(quoted));
    acme_record_value(&r, &v);
    acme_record_quote(value, &q);
    text_addf(&n, LABEL ".%s", name);
    json_t *o = json_pack("{s:s, s:s, s:s}", "issuer", id, "record", record, "value", value);
    int status = EXIT_OK;
    if (check) {
        found = look_up_record(record, value, o);
        status = found && json_is_true(json_object_get(o, "published")) ? EXIT_OK : EXIT_INPUT;
    }
    if (list)
        (void)json_array_append_new(list, o); /* out of memory shows as its lack */
    else
        printf("; of the issuer %s\n%s. IN TXT %s\n", id, record, quoted);
    if (!list && found)
        printf("; %s\n", found);
    if (!list)
        json_decref(o);
    return status;
}

static int show_all(const json_t *top, const char *name, bool check, json_t *list) {
    const json_t *issuers = json_object_get(top, "issuers");
    unsigned n = 0;
    int status = EXIT_OK;
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        const json_t *issuer = json_array_get(issuers, i);
        bool wildcard = false;
        if (!lists(json_object_get(issuer, "challenges"), METHOD) ||
            !issues(top, admin_text(issuer, "issuer"), name, &wildcard))
            continue;
        n++;
        int one = show_one(issuer, name, wildcard, check, list);
        status = MAX(status, one);
    }
    if (n > 0)
        return status;
    fprintf(stderr,
            "tls-off acme record: found \"%s\", expected a name of a certificate whose issuer has \"" METHOD
            "\" in \"challenges\"\n",
            name);
    return EXIT_INPUT;
}

int acme_record_show(const struct admin_args *a, const char *name, bool check) {
    int status = EXIT_OK;
    struct addr ip;
    char lower[256];
    struct text t = text_of(lower, sizeof(lower));
    name += strncmp(name, "*.", 2) == 0 ? 2 : 0;
    for (size_t i = 0; name[i]; i++)
        text_addf(&t, "%c", name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    if (addr_parse_ip(name, &ip) == 0 || t.cut) {
        fprintf(stderr, "tls-off acme record: found \"%.300s\", expected the name of a host: addresses have no such record\n",
                name);
        return EXIT_INPUT;
    }
    json_t *top = admin_ask(a, "GET", "/acme.json", &status);
    if (!top)
        return status;
    json_t *out = a->json ? json_pack("{s:[]}", "records") : NULL;
    status = show_all(top, lower, check, json_object_get(out, "records"));
    if (out && json_array_size(json_object_get(out, "records"))) {
        int printed = admin_print_json(out);
        status = MAX(status, printed);
    }
    json_decref(out);
    json_decref(top);
    return status;
}
