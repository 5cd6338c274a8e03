/* [acme], [acme.issuer.NAME] and what a service wants of them. Issuers are read with the file; certificates when all is known.
 */
#include "conf/acme_keys.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "conf/acme_files.h"
#include "conf/acme_ways.h"
#include "conf/report.h"
#include "conf/scalars.h"
#include "conf/schema.h"

#define NAME_LABEL_MAX 63

static const struct word key_words[] = {{"ecdsa-p256", MANAGED_ECDSA_P256}, {"ecdsa-p384", MANAGED_ECDSA_P384},
                                        {"rsa-2048", MANAGED_RSA_2048},     {"rsa-3072", MANAGED_RSA_3072},
                                        {"rsa-4096", MANAGED_RSA_4096},     {NULL, 0}};
static const struct word challenge_words[] = {{"tls-alpn-01", CHALLENGE_TLS_ALPN_01},
                                              {"http-01", CHALLENGE_HTTP_01},
                                              {"dns-01", CHALLENGE_DNS_01},
                                              {"dns-persist-01", CHALLENGE_DNS_PERSIST_01},
                                              {NULL, 0}};

/* One value of an issuer. */
struct issuer_value {
    struct load *l;
    struct conf_issuer *issuer;
    const char *key; /* "acme.issuer.le.directory" */
};

static void PRINTF_LIKE(3, 4) refuse_value(struct issuer_value *v, const struct toml_node *n, const char *fmt, ...) {
    char expected[256], shown[VALUE_SHOWN_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(expected, sizeof(expected), fmt, ap); /* cut is fine in a message */
    va_end(ap);
    load_error(v->l, n->at, v->key, "found %s, expected %s", value_shown(n, shown), expected);
}

/* Text that JSON and HTTP take as it is; NULL after a fault. */
static const char *plain_text(struct issuer_value *v, const struct toml_node *n, const char *begins, const char *expected) {
    const char *s = n->kind == TOML_STRING ? n->string : "";
    size_t len = strlen(s);
    bool ok = len > 0 && len < CONF_ACME_TEXT_MAX && strncmp(s, begins, strlen(begins)) == 0;
    for (size_t i = 0; i < len && ok; i++)
        ok = s[i] > ' ' && s[i] <= '~' && s[i] != '"' && s[i] != '\\';
    if (ok)
        return conf_strdup(v->l->conf, s);
    refuse_value(v, n, "%s", expected);
    return NULL;
}

static void read_directory(struct issuer_value *v, const struct toml_node *n) {
    v->issuer->directory = plain_text(v, n, "https://", "the URL of its directory, https://...");
}

static void read_terms(struct issuer_value *v, const struct toml_node *n) {
    if (n->kind != TOML_BOOLEAN || !n->integer)
        refuse_value(v, n, "true, which says that you accept the issuer's terms of service");
}

/* A scheme, a colon and something behind it (RFC 3986 3). */
static bool is_url(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return n && s[n] == ':' && s[n + 1] && !strchr("0123456789+-.", s[0]);
}

static void read_contact(struct issuer_value *v, const struct toml_node *n) {
    static const char expected[] = "a URL like \"mailto:ops@example.org\"";
    size_t max = n->kind == TOML_ARRAY ? MIN(n->nchildren, (size_t)CONF_CONTACTS_MAX) : 0;
    if (n->kind != TOML_ARRAY || n->nchildren > CONF_CONTACTS_MAX)
        refuse_value(v, n, "an array of at most %d URLs like \"mailto:ops@example.org\"", CONF_CONTACTS_MAX);
    v->issuer->contact = conf_alloc(v->l->conf, max * sizeof(*v->issuer->contact));
    for (size_t i = 0; i < max; i++) {
        const char *s = plain_text(v, &n->children[i], "", expected);
        if (s && is_url(s))
            v->issuer->contact[v->issuer->ncontact++] = s;
        else if (s)
            refuse_value(v, &n->children[i], "%s", expected);
    }
}

static void read_words(struct issuer_value *v, const struct toml_node *n, const struct word *words, uint8_t **ret,
                       size_t *ret_n) {
    char all[256];
    struct text t = text_of(all, sizeof(all));
    value_words_text(words, &t);
    size_t max = n->kind == TOML_ARRAY ? n->nchildren : 0;
    if (max == 0 || max > MANAGED_KEYS) {
        refuse_value(v, n, "an array of %s", all);
        return;
    }
    *ret = conf_alloc(v->l->conf, max);
    for (size_t i = 0; i < max; i++) {
        const struct toml_node *item = &n->children[i];
        int word = item->kind == TOML_STRING ? value_word(words, item->string) : -1;
        if (word < 0 || memchr(*ret, word, *ret_n))
            refuse_value(v, item, word < 0 ? "%s" : "each of %s once", all);
        else
            (*ret)[(*ret_n)++] = (uint8_t)word;
    }
}

static void read_challenges(struct issuer_value *v, const struct toml_node *n) {
    read_words(v, n, challenge_words, &v->issuer->challenges, &v->issuer->nchallenges);
}

static void read_keys(struct issuer_value *v, const struct toml_node *n) {
    read_words(v, n, key_words, &v->issuer->keys, &v->issuer->nkeys);
}

static void read_profile(struct issuer_value *v, const struct toml_node *n) {
    const char *s =
        n->kind == TOML_STRING && !n->string[0] ? "" : plain_text(v, n, "", "the name of a profile, like \"tlsserver\"");
    if (s && strlen(s) > CONF_ACME_PROFILE_MAX)
        refuse_value(v, n, "at most 64 bytes");
    else if (s)
        v->issuer->profile = s;
}

static void read_profile_required(struct issuer_value *v, const struct toml_node *n) {
    if (n->kind == TOML_BOOLEAN)
        v->issuer->profile_required = n->integer != 0;
    else
        refuse_value(v, n, "true or false");
}

static void read_preferred_chain(struct issuer_value *v, const struct toml_node *n) {
    if (n->kind == TOML_STRING && strlen(n->string) < 200)
        v->issuer->preferred_chain = conf_strdup(v->l->conf, n->string);
    else
        refuse_value(v, n, "the common name of a certificate authority");
}

static const char *read_file_name(struct issuer_value *v, const struct toml_node *n) {
    const char *path = n->kind == TOML_STRING && n->string[0] ? load_path(v->l, n->string) : NULL;
    if (!path)
        refuse_value(v, n, "the name of a file");
    return path;
}

static void read_ca_file(struct issuer_value *v, const struct toml_node *n) {
    if (n->kind != TOML_STRING || n->string[0]) /* "" = the system's */
        v->issuer->ca_file = read_file_name(v, n);
}

/* An executable file: what it may do beyond that shows when it runs, as its user. */
static void read_hook(struct issuer_value *v, const struct toml_node *n) {
    struct stat st;
    const char *path = read_file_name(v, n);
    if (path && stat(path, &st) < 0)
        load_error(v->l, n->at, v->key, "%s: %s, expected a program", path, strerror(errno));
    else if (path && (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)))
        load_error(v->l, n->at, v->key, "%s: found no executable file, expected a program", path);
    v->issuer->hook = path;
}

static void read_hook_user(struct issuer_value *v, const struct toml_node *n) {
    if (n->kind == TOML_STRING && n->string[0] && getpwnam(n->string))
        v->issuer->hook_user = conf_strdup(v->l->conf, n->string);
    else
        refuse_value(v, n, "a user that this machine has");
}

static void read_eab(struct issuer_value *v, const struct toml_node *n) {
    static const char expected[] = "{ kid = \"...\", key_file = \"FILE\" } as the issuer has given it out";
    for (size_t i = 0; n->kind == TOML_TABLE && i < n->nchildren; i++) {
        const struct toml_node *child = &n->children[i];
        if (strcmp(child->key, "kid") == 0)
            v->issuer->eab_kid = plain_text(v, child, "", "the key's identifier");
        else if (strcmp(child->key, "key_file") == 0)
            v->issuer->eab_key_file = read_file_name(v, child);
        else
            load_error(v->l, child->key_at, v->key, "found \"%.100s\", expected \"kid\" and \"key_file\"", child->key);
    }
    if (!v->issuer->eab_kid || !v->issuer->eab_key_file)
        load_error(v->l, n->at, v->key, "found no whole binding, expected %s", expected);
}

static const struct issuer_key {
    const char *name;
    void (*read)(struct issuer_value *v, const struct toml_node *n);
} issuer_keys[] = {
    {"directory", read_directory}, {"terms_accepted", read_terms},
    {"contact", read_contact},     {"challenges", read_challenges},
    {"profile", read_profile},     {"profile_required", read_profile_required},
    {"keys", read_keys},           {"preferred_chain", read_preferred_chain},
    {"ca_file", read_ca_file},     {"eab", read_eab},
    {"hook", read_hook},           {"hook_user", read_hook_user},
};

static void issuer_defaults(struct conf *c, struct conf_issuer *i) {
    if (i->nchallenges == 0) {
        i->challenges = conf_alloc(c, 1);
        i->challenges[i->nchallenges++] = CHALLENGE_TLS_ALPN_01;
    }
    if (i->nkeys == 0) {
        i->keys = conf_alloc(c, 1);
        i->keys[i->nkeys++] = MANAGED_ECDSA_P256;
    }
}

struct origin acme_origin(struct load *l, const struct conf_issuer *issuer, const char *key) {
    const struct toml_node *all = l->node[KEY_ACME_ISSUER], *section = all ? value_member(all, issuer->name) : NULL;
    const struct toml_node *n = section ? value_member(section, key) : NULL;
    char shown[CONF_KEY_TEXT_MAX];
    struct text t = text_of(shown, sizeof(shown));
    text_addf(&t, "acme.issuer.%s.%s", issuer->name, key);
    return (struct origin){n ? n->at : section ? section->at : (struct toml_pos){0, 0}, conf_strdup(l->conf, shown)};
}

static void read_issuer(struct load *l, const struct toml_node *n, const char *shown, struct conf_issuer *to) {
    *to = (struct conf_issuer){.name = conf_strdup(l->conf, n->key),
                               .profile = "",
                               .preferred_chain = "",
                               .hook_uid = UINT32_MAX,
                               .hook_gid = UINT32_MAX};
    for (size_t i = 0; i < n->nchildren; i++) {
        const struct toml_node *child = &n->children[i];
        const char *names[ARRAY_LEN(issuer_keys) + 1] = {NULL};
        char key[CONF_KEY_TEXT_MAX];
        struct text t = text_of(key, sizeof(key));
        size_t k = 0;
        text_addf(&t, "%s.%.100s", shown, child->key);
        struct issuer_value v = {l, to, conf_strdup(l->conf, key)};
        for (size_t j = 0; j < ARRAY_LEN(issuer_keys); j++)
            names[j] = issuer_keys[j].name;
        while (k < ARRAY_LEN(issuer_keys) && strcmp(issuer_keys[k].name, child->key) != 0)
            k++;
        if (k < ARRAY_LEN(issuer_keys))
            issuer_keys[k].read(&v, child);
        else
            reading_unknown_key(l, child, shown, names);
    }
    if (!value_member(n, "directory"))
        load_error(l, n->at, shown, "found no \"directory\", expected the URL of the issuer's directory");
    if (!value_member(n, "terms_accepted"))
        load_error(l, n->at, shown,
                   "found no \"terms_accepted\", expected true, which says that you accept the issuer's terms");
    issuer_defaults(l->conf, to);
    if (!to->hook && memchr(to->challenges, CHALLENGE_DNS_01, to->nchallenges))
        load_error(l, n->at, shown, "found \"dns-01\" without \"hook\", expected the program that puts DNS records into place");
}

static bool is_issuer_name(const char *s) {
    size_t n = strnlen(s, 65);
    return n >= 1 && n <= 64 && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == 0;
}

void read_issuers(struct reading *r, const struct toml_node *table) {
    struct load *l = r->l;
    struct conf_acme *a = &l->conf->acme;
    size_t n = MIN(table->nchildren, (size_t)CONF_ISSUERS_MAX);
    if (table->nchildren > CONF_ISSUERS_MAX)
        load_error(l, table->at, r->key, "found %zu issuers, expected at most %d", table->nchildren, CONF_ISSUERS_MAX);
    a->issuers = conf_alloc(l->conf, n * sizeof(*a->issuers));
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *node = &table->children[i];
        char shown[CONF_KEY_TEXT_MAX];
        struct text t = text_of(shown, sizeof(shown));
        text_addf(&t, "acme.issuer.%.100s", node->key);
        if (node->kind != TOML_TABLE)
            load_error(l, node->at, shown, "found a value, expected a section [acme.issuer.NAME]");
        else if (!is_issuer_name(node->key))
            load_error(l, node->key_at, shown, "found \"%.100s\", expected a name of 1 to 64 of a-z, 0-9, '_' and '-'",
                       node->key);
        else
            read_issuer(l, node, shown, &a->issuers[a->nissuers++]);
    }
}

/* ---- what a service wants ---- */

static bool is_wildcard(const char *name) {
    return strncmp(name, "*.", 2) == 0;
}

/* Names of hosts in lower case, or an address in the form that is compared; NULL when it is neither. A last label of digits is
 * of an address that is mistyped. */
static const char *managed_name(struct load *l, const char *s) {
    char name[256], ip[ADDR_TEXT_MAX];
    struct addr a;
    size_t len = strlen(s), label = 0;
    if (addr_parse_ip(s, &a) == 0)
        return conf_strdup(l->conf, addr_ip_text(&a, ip));
    size_t from = is_wildcard(s) ? 2 : 0;
    bool ok = len > from && len < 254 && strchr(s + from, '.'), digits = true;
    memcpy(name, s, from);
    for (size_t i = from; ok && i <= len; i++) {
        char ch = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
        bool end = ch == '.' || ch == 0;
        bool digit = ch >= '0' && ch <= '9';
        ok = end ? label > 0 && label <= NAME_LABEL_MAX && s[i - 1] != '-'
                 : (ch >= 'a' && ch <= 'z') || digit || (ch == '-' && label > 0);
        digits = end ? digits && ch == 0 : digit && (digits || label == 0);
        label = end ? 0 : label + 1;
        name[i] = ch;
    }
    return ok && !digits ? conf_strdup(l->conf, name) : NULL;
}

static const struct toml_node *wanted_list(struct reading *r, const struct toml_node *table, const char *name,
                                           const char *expected) {
    const struct toml_node *n = value_member(table, name);
    if (n && n->kind == TOML_ARRAY && n->nchildren > 0)
        return n;
    load_error(r->l, n ? n->at : table->at, r->key, "found no \"%s\", expected %s", name, expected);
    return NULL;
}

/* Kept for acme_settle(), when issuers are known wherever they stand in the file. */
void read_service_acme(struct reading *r, const struct toml_node *node) {
    static const char *const names[] = {"issuers", "names", NULL};
    const struct toml_node *list = wanted_list(r, node, "names", "the names of the certificate");
    (void)wanted_list(r, node, "issuers", "names of sections [acme.issuer.NAME]"); /* looked up later */
    for (size_t i = 0; i < node->nchildren; i++)
        if (strcmp(node->children[i].key, names[0]) != 0 && strcmp(node->children[i].key, names[1]) != 0)
            reading_unknown_key(r->l, &node->children[i], r->key, names);
    size_t n = list ? MIN(list->nchildren, (size_t)CONF_ACME_NAMES_MAX) : 0;
    if (list && list->nchildren > CONF_ACME_NAMES_MAX)
        load_error(r->l, list->at, r->key, "found %zu names, expected at most %d of one certificate", list->nchildren,
                   CONF_ACME_NAMES_MAX);
    struct service_origin *o = r->origin;
    o->managed_names = conf_alloc(r->l->conf, n * sizeof(*o->managed_names));
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *item = &list->children[i];
        const char *name = item->kind == TOML_STRING ? managed_name(r->l, item->string) : NULL;
        for (size_t k = 0; name && k < o->nmanaged_names; k++)
            if (strcmp(o->managed_names[k], name) == 0)
                name = NULL;
        if (name)
            o->managed_names[o->nmanaged_names++] = name;
        else
            reading_refuse(r, item, "a host name, a wildcard like \"*.example.org\", or an address, each once");
    }
}

static size_t settle_issuers(struct load *l, size_t service, const struct toml_node *list, uint16_t *to) {
    const struct conf_acme *a = &l->conf->acme;
    bool seen[CONF_ISSUERS_MAX] = {false};
    size_t n = 0;
    for (size_t i = 0; list && list->kind == TOML_ARRAY && i < list->nchildren && i < CONF_ISSUERS_MAX; i++) {
        const struct toml_node *item = &list->children[i];
        size_t at = item->kind == TOML_STRING ? conf_find_issuer(a, item->string) : a->nissuers;
        char shown[VALUE_SHOWN_MAX];
        if (at == a->nissuers)
            load_error(l, item->at, load_key(l, service, KEY_SERVICE_ACME),
                       "found %s, expected the name of a section [acme.issuer.NAME]", value_shown(item, shown));
        else if (seen[at])
            load_error(l, item->at, load_key(l, service, KEY_SERVICE_ACME), "found %s again, expected each issuer once",
                       value_shown(item, shown));
        else
            to[n++] = (uint16_t)at;
        if (at < a->nissuers)
            seen[at] = true;
    }
    return n;
}

/* Nothing but a record of its domain proves a wildcard; every issuer that may be asked must be able to see one. */
static void check_wildcards(struct load *l, size_t service, const uint16_t *issuers, size_t n) {
    const struct service_origin *o = &l->services[service];
    for (size_t i = 0; i < o->nmanaged_names; i++)
        for (size_t k = 0; k < n && is_wildcard(o->managed_names[i]); k++) {
            const struct conf_issuer *by = &l->conf->acme.issuers[issuers[k]];
            if (!memchr(by->challenges, CHALLENGE_DNS_01, by->nchallenges) &&
                !memchr(by->challenges, CHALLENGE_DNS_PERSIST_01, by->nchallenges))
                load_error(
                    l, load_at(l, service, KEY_SERVICE_ACME), load_key(l, service, KEY_SERVICE_ACME),
                    "found \"%s\", expected \"dns-01\" or \"dns-persist-01\" in \"challenges\" of the issuer \"%s\": nothing "
                    "else can validate it",
                    o->managed_names[i], by->name);
        }
}

/* One certificate of service I, beside those that it names. */
static void add_managed(struct load *l, size_t i, enum managed_key key, uint16_t *issuers, size_t nissuers) {
    struct conf *c = l->conf;
    struct conf_acme *a = &c->acme;
    struct conf_service *s = &c->services[i];
    struct service_origin *o = &l->services[i];
    char id[128], dir[PATH_MAX];
    struct text t = text_of(id, sizeof(id)), d = text_of(dir, sizeof(dir));
    text_addf(&t, "%s.%s", s->name, managed_key_name(key));
    text_addf(&d, "%s/certificates/%s", a->dir, id);
    struct conf_managed *m = &a->certs[a->ncerts];
    *m = (struct conf_managed){.id = conf_strdup(c, id),
                               .dir = conf_strdup(c, dir),
                               .service = (uint16_t)i,
                               .key = key,
                               .names = o->managed_names,
                               .nnames = o->nmanaged_names,
                               .issuers = issuers,
                               .nissuers = nissuers};
    a->ncerts++;
    struct conf_cert *certs = conf_alloc(c, (s->ncerts + 1) * sizeof(*certs));
    struct toml_pos *at = conf_alloc(c, (s->ncerts + 1) * sizeof(*at));
    for (size_t k = 0; k < s->ncerts; k++) {
        certs[k] = s->certs[k];
        at[k] = o->cert_at[k];
    }
    certs[s->ncerts] =
        (struct conf_cert){.cert = acme_file_below(l, m->dir, "fullchain.pem"), .key = acme_file_below(l, m->dir, "key.pem")};
    at[s->ncerts] = load_at(l, i, KEY_SERVICE_ACME);
    s->certs = certs;
    o->cert_at = at;
    bool absent = l->flags & LOAD_FOR_CHECK && access(certs[s->ncerts].cert, F_OK) != 0;
    if (!*certs[s->ncerts].cert || !*certs[s->ncerts].key)
        load_error(l, load_top_at(l, KEY_STATE_DIR), "state_dir", "its name is too long for the files of certificates");
    else if (!absent) /* a check makes none */
        s->ncerts++;
}

static void settle_service(struct load *l, size_t i) {
    struct conf_acme *a = &l->conf->acme;
    const struct toml_node *node = l->services[i].node[KEY_SERVICE_ACME];
    if (!node || node->kind != TOML_TABLE)
        return;
    uint16_t *issuers = conf_alloc(l->conf, CONF_ISSUERS_MAX * sizeof(*issuers));
    size_t n = settle_issuers(l, i, value_member(node, "issuers"), issuers);
    check_wildcards(l, i, issuers, n);
    if (l->conf->services[i].mode != MODE_TERMINATE)
        load_error(l, node->at, load_key(l, i, KEY_SERVICE_ACME),
                   "found in a service of passthrough mode, which has no certificate");
    else if (n && l->services[i].nmanaged_names)
        for (size_t k = 0; k < a->issuers[issuers[0]].nkeys; k++) {
            if (a->ncerts == CONF_ACME_CERTS_MAX) {
                load_error(l, node->at, load_key(l, i, KEY_SERVICE_ACME),
                           "found more than %d certificates of all services, expected at most that many", CONF_ACME_CERTS_MAX);
                return;
            }
            add_managed(l, i, a->issuers[issuers[0]].keys[k], issuers, n);
        }
}

/* Root runs no program of which it is not said whose it is, where there is somebody else. */
static void settle_hooks(struct load *l) {
    const char *user = l->conf->user;
    for (size_t i = 0; i < l->conf->acme.nissuers; i++) {
        struct conf_issuer *by = &l->conf->acme.issuers[i];
        if (geteuid() != 0) {
            const struct origin o = acme_origin(l, by, "hook_user");
            if (by->hook_user)
                load_warning(l, o.at, o.key, "has no effect when not started as root");
            continue;
        }
        const char *name = by->hook_user ? by->hook_user : user;
        const struct passwd *p = name ? getpwnam(name) : NULL;
        by->hook_uid = p ? p->pw_uid : UINT32_MAX;
        by->hook_gid = p ? p->pw_gid : UINT32_MAX;
    }
}

void acme_settle(struct load *l) {
    struct conf *c = l->conf;
    struct conf_acme *a = &c->acme;
    settle_hooks(l);
    bool wanted = false;
    char dir[PATH_MAX];
    struct text t = text_of(dir, sizeof(dir));
    for (size_t i = 0; i < c->nservices; i++)
        wanted = wanted || l->services[i].node[KEY_SERVICE_ACME];
    text_addf(&t, "%s/acme", c->state_dir);
    for (size_t i = 0; i < c->nservices && !a->dir; i++)
        if (wanted || c->services[i].fetch_ocsp)
            a->dir = conf_strdup(c, dir);
    if (wanted) {
        a->certs = conf_alloc(c, CONF_ACME_CERTS_MAX * sizeof(*a->certs));
        for (size_t i = 0, n = c->nservices; i < n; i++)
            settle_service(l, i);
    }
    acme_ways(l, wanted);
}
