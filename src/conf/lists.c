/* Keys whose value is a list. Every item has a position of its own; a bad item is skipped and the rest is read. */
#include "conf/lists.h"

#include <string.h>

#include "access/ja4_rule.h"
#include "access/netlist.h"
#include "base/err.h"
#include "base/text.h"
#include "conf/foreign_words.h"
#include "conf/listen_address.h"
#include "conf/report.h"
#include "conf/scalars.h"
#include "conf/suggestion.h"
#include "creds/client_rule.h"

/* Says so when the list is too long; how many items to read. */
static size_t list_len(struct reading *r, const struct toml_node *list, size_t max) {
    if (list->nchildren > max)
        load_error(r->l, list->at, r->key, "found %zu items, expected at most %zu", list->nchildren, max);
    return MIN(list->nchildren, max);
}

static bool wants_string(struct reading *r, const struct toml_node *item) {
    if (item->kind == TOML_STRING)
        return true;
    reading_refuse(r, item, "a string");
    return false;
}

static bool comes_again(struct reading *r, const struct toml_node *list, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (list->children[j].kind == TOML_STRING && strcmp(list->children[j].string, list->children[i].string) == 0) {
            reading_refuse(r, &list->children[i], "each item once");
            return true;
        }
    return false;
}

/* What the items of a list become. */
struct item_type {
    size_t max;
    size_t size;     /* of one in memory */
    bool may_repeat; /* the same text twice: take() looks whether it means the same */
    /* ITEM, a string, becomes number N of ALL; false when it was refused. */
    bool (*take)(struct reading *r, const struct toml_node *item, void *all, size_t n);
};

/* The items that were taken, *RET_N of them. */
static void *read_items(struct reading *r, const struct toml_node *node, const struct item_type *t, size_t *ret_n) {
    size_t n = list_len(r, node, t->max);
    void *all = conf_alloc(r->l->conf, n * t->size);
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *item = &node->children[i];
        if (wants_string(r, item) && (t->may_repeat || !comes_again(r, node, i)))
            *ret_n += t->take(r, item, all, *ret_n);
    }
    return all;
}

/* The index in conf.listeners, added when it is new; SIZE_MAX when there is no room. Port 0 is always new. */
static size_t intern_listener(struct load *l, const struct conf_listener *new, struct toml_pos at, const char *key) {
    struct conf *c = l->conf;
    for (size_t i = 0; i < c->nlisteners && (new->path || new->addr.port != 0); i++)
        if (load_same_listener(&c->listeners[i], new))
            return i;
    if (c->nlisteners == CONF_LISTENERS_MAX)
        return SIZE_MAX;
    if (!c->listeners) {
        c->listeners = conf_alloc(c, CONF_LISTENERS_MAX * sizeof(*c->listeners));
        l->listeners = conf_alloc(c, CONF_LISTENERS_MAX * sizeof(*l->listeners));
    }
    c->listeners[c->nlisteners] = *new;
    l->listeners[c->nlisteners].first = (struct origin){at, key};
    return c->nlisteners++;
}

static bool take_address_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    uint16_t *listeners = all;
    struct conf_listener new = {0};
    char expected[256];
    struct text why = text_of(expected, sizeof(expected));
    if (load_listen_address(r->l, item->string, &new, &why) != 0) {
        reading_refuse(r, item, "%s", expected);
        return false;
    }
    size_t index = intern_listener(r->l, &new, item->at, r->key);
    if (index == SIZE_MAX) {
        load_error(r->l, item->at, r->key, "found more than %d addresses in all, expected at most %d", CONF_LISTENERS_MAX,
                   CONF_LISTENERS_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (listeners[i] == index) {
            reading_refuse(r, item, "each address once");
            return false;
        }
    listeners[n] = (uint16_t)index;
    return true;
}

void read_addresses(struct reading *r, const struct toml_node *node, uint16_t **ret, size_t *ret_n) {
    static const struct item_type t = {CONF_LISTENERS_MAX, sizeof(**ret), true, take_address_item};
    *ret = read_items(r, node, &t, ret_n);
}

void read_listen(struct reading *r, const struct toml_node *node) {
    read_addresses(r, node, &r->service->listeners, &r->service->nlisteners);
}

static bool take_backend_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    struct conf_backend *backends = all;
    char expected[256];
    struct text why = text_of(expected, sizeof(expected));
    if (value_backend(r->l, item->string, &backends[n], &why) == 0)
        return true;
    reading_refuse(r, item, "%s", expected);
    return false;
}

void read_backends(struct reading *r, const struct toml_node *node) {
    struct conf_service *s = r->service;
    static const struct item_type t = {CONF_BACKENDS_MAX, sizeof(*s->backends), false, take_backend_item};
    s->backends = read_items(r, node, &t, &s->nbackends);
}

/* A file of a pair; NULL after a fault. */
static const char *pair_file(struct reading *r, const struct toml_node *n, const char *name) {
    const char *path = n->kind == TOML_STRING && n->string[0] ? load_path(r->l, n->string) : NULL;
    if (!path)
        reading_refuse(r, n, "the name of the %s's file", name);
    return path;
}

static void read_cert_pair(struct reading *r, const struct toml_node *item, struct conf_cert *ret) {
    static const char *const names[] = {"cert", "key", "passphrase", NULL};
    const char *files[3] = {NULL};
    bool ok = true;
    for (size_t i = 0; i < item->nchildren; i++) {
        size_t k = 0;
        while (names[k] && strcmp(item->children[i].key, names[k]) != 0)
            k++;
        if (!names[k])
            reading_unknown_key(r->l, &item->children[i], r->key, names);
    }
    for (size_t k = 0; k < ARRAY_LEN(files); k++) {
        const struct toml_node *n = value_member(item, names[k]);
        if (n)
            files[k] = pair_file(r, n, names[k]);
        else if (k < 2)
            load_error(r->l, item->at, r->key, "found no \"%s\", expected { cert = \"FILE\", key = \"FILE\" }", names[k]);
        ok = ok && (files[k] || (!n && k == 2));
    }
    if (ok)
        *ret = (struct conf_cert){.cert = files[0], .key = files[1], .passphrase = files[2]};
}

void read_certificates(struct reading *r, const struct toml_node *node) {
    struct conf_service *s = r->service;
    size_t n = list_len(r, node, CONF_CERTS_MAX);
    s->certs = conf_alloc(r->l->conf, n * sizeof(*s->certs));
    r->origin->cert_at = conf_alloc(r->l->conf, n * sizeof(*r->origin->cert_at));
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *item = &node->children[i];
        struct conf_cert cert = {0};
        if (item->kind == TOML_TABLE)
            read_cert_pair(r, item, &cert);
        else if (item->kind == TOML_STRING && item->string[0])
            cert.cert = load_path(r->l, item->string);
        if (cert.cert) {
            r->origin->cert_at[s->ncerts] = item->at;
            s->certs[s->ncerts++] = cert;
        } else if (item->kind != TOML_TABLE) {
            reading_refuse(r, item, "{ cert = \"FILE\", key = \"FILE\" }, or the name of a directory or file");
        }
    }
}

static bool take_protocol_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    size_t len = strlen(item->string);
    if (len == 0 || len > 255) {
        reading_refuse(r, item, "a protocol name of 1 to 255 bytes (RFC 7301)");
        return false;
    }
    ((const char **)all)[n] = conf_strdup(r->l->conf, item->string);
    return true;
}

static const struct item_type protocols = {CONF_LIST_MAX, sizeof(char *), false, take_protocol_item};

void read_alpn(struct reading *r, const struct toml_node *node) {
    r->service->alpn = read_items(r, node, &protocols, &r->service->nalpn);
}

void read_match_alpn(struct reading *r, const struct toml_node *node) {
    r->service->match_alpn = read_items(r, node, &protocols, &r->service->nmatch_alpn);
    if (node->nchildren == 0)
        reading_refuse(r, node, "at least one protocol, or no \"match_alpn\"");
}

/* "*", "" and what clients can ask for, alone or behind "*." or "**.", as the table of routes has them. NULL: refused. */
static const char *read_pattern(struct reading *r, const struct toml_node *item) {
    const char *text = item->string, *host = text + (strncmp(text, "**.", 3) == 0 ? 3 : strncmp(text, "*.", 2) == 0 ? 2 : 0);
    char name[CONF_HOST_MAX + 1], pattern[CONF_PATTERN_MAX + 1];
    if (!text[0] || strcmp(text, "*") == 0)
        return conf_strdup(r->l->conf, text);
    int err = strchr(host, '*') ? ERR_FORMAT : r->l->capabilities->host_name(host, name);
    if (err == ERR_UNSUPPORTED) {
        reading_refuse(r, item, "a name in ASCII (\"xn--...\"), since libidn2 is not installed");
        return NULL;
    }
    if (err < 0) {
        reading_refuse(r, item,
                       "a host name, which may begin with \"*.\" (one label) or \"**.\" (any number of labels), \"*\" (every "
                       "client), or \"\" (clients that ask for no name)");
        return NULL;
    }
    struct text t = text_of(pattern, sizeof(pattern));
    text_addf(&t, "%.*s%s", (int)(host - text), text, name);
    return conf_strdup(r->l->conf, pattern);
}

static bool take_name_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    const char **names = all;
    names[n] = read_pattern(r, item);
    for (size_t i = 0; i < n && names[n]; i++)
        if (strcmp(names[i], names[n]) == 0) {
            reading_refuse(r, item, "each name once");
            return false;
        }
    return names[n];
}

void read_names(struct reading *r, const struct toml_node *node) {
    static const struct item_type t = {CONF_NAMES_MAX, sizeof(char *), true, take_name_item};
    r->service->names = read_items(r, node, &t, &r->service->nnames);
    if (node->nchildren == 0)
        reading_refuse(r, node, "at least one name, or no \"names\"");
}

static void refuse_name(struct reading *r, const struct toml_node *item, const struct suggestion *near, const char *what) {
    const char *best = suggestion_get(near), *ours = foreign_word(item->string);
    if (ours)
        reading_refuse(r, item, "%s; %s is %s here", what, item->string, ours);
    else if (best)
        reading_refuse(r, item, "%s, perhaps \"%s\"", what, best);
    else
        reading_refuse(r, item, "%s", what);
}

static bool has_id(const uint16_t *ids, size_t n, uint16_t id) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool take_suite_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    struct suggestion near = {.word = item->string};
    uint16_t *suites = all, version = 0;
    const char *name;
    for (size_t i = 0; (name = r->l->capabilities->suite_at(i, &suites[n], &version)); i++) {
        suggestion_offer(&near, name);
        if (strcmp(name, item->string) == 0)
            return true;
    }
    refuse_name(r, item, &near, "the name of an AEAD suite with ECDHE as in the IANA registry");
    return false;
}

void read_suites(struct reading *r, const struct toml_node *node) {
    static const struct item_type t = {CONF_LIST_MAX, sizeof(uint16_t), false, take_suite_item};
    r->service->suites = read_items(r, node, &t, &r->service->nsuites);
}

/* The IANA registry calls the NIST curves by their SEC 2 names; operators use these. */
static const char *group_alias(const char *name) {
    static const char *const aliases[][2] = {{"P-256", "secp256r1"}, {"P-384", "secp384r1"}, {"P-521", "secp521r1"}};
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (strcasecmp(name, aliases[i][0]) == 0)
            return aliases[i][1];
    return name;
}

static bool take_group_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    struct suggestion near = {.word = item->string};
    uint16_t *groups = all;
    bool usable = false;
    const char *name;
    for (size_t i = 0; (name = r->l->capabilities->group_at(i, &groups[n], &usable)); i++) {
        suggestion_offer(&near, name);
        if (strcasecmp(name, group_alias(item->string)) == 0)
            break;
    }
    if (!name)
        refuse_name(r, item, &near, "the name of a key exchange group as in the IANA registry");
    else if (!usable)
        reading_refuse(r, item, "a group that this machine's libssl has");
    else if (has_id(groups, n, groups[n]))
        reading_refuse(r, item, "each item once");
    else
        return true;
    return false;
}

void read_groups(struct reading *r, const struct toml_node *node) {
    static const struct item_type t = {CONF_LIST_MAX, sizeof(uint16_t), true, take_group_item};
    r->service->groups = read_items(r, node, &t, &r->service->ngroups);
}

void read_tlvs(struct reading *r, const struct toml_node *node) {
    static const struct word tlvs[] = {{"ssl", TLV_SSL},
                                       {"authority", TLV_AUTHORITY},
                                       {"alpn", TLV_ALPN},
                                       {"unique-id", TLV_UNIQUE_ID},
                                       {"crc32c", TLV_CRC32C},
                                       {"client-name", TLV_CLIENT_NAME},
                                       {"client-cert", TLV_CLIENT_CERT},
                                       {NULL, 0}};
    char words[160];
    struct text t = text_of(words, sizeof(words));
    value_words_text(tlvs, &t);
    size_t n = list_len(r, node, CONF_LIST_MAX);
    r->service->proxy_tlvs = 0;
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *item = &node->children[i];
        if (!wants_string(r, item) || comes_again(r, node, i))
            continue;
        int v = value_word(tlvs, item->string);
        if (v < 0)
            reading_refuse(r, item, "%s", words);
        else
            r->service->proxy_tlvs |= (unsigned)v;
    }
}

static bool take_client_rule_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    char expected[256];
    struct text why = text_of(expected, sizeof(expected));
    struct client_rule rule;
    if (client_rule_read(item->string, &rule, &why) != 0) {
        reading_refuse(r, item, "%s", expected);
        return false;
    }
    ((const char **)all)[n] = conf_strdup(r->l->conf, item->string);
    return true;
}

void read_client_allow(struct reading *r, const struct toml_node *node) {
    static const struct item_type t = {CONF_CLIENT_RULES_MAX, sizeof(char *), false, take_client_rule_item};
    r->service->client_allow = read_items(r, node, &t, &r->service->nclient_allow);
}

static bool take_trust_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    struct cidr *trust = all;
    if (strcmp(item->string, "unix") == 0) {
        trust[n].net.family = AF_UNIX;
        return true;
    }
    if (cidr_parse(item->string, &trust[n]) == 0)
        return true;
    reading_refuse(r, item,
                   "an address or a network like \"10.0.0.0/8\" with no bits set behind its length, or \"unix\" for processes "
                   "at Unix sockets");
    return false;
}

void read_trust(struct reading *r, const struct toml_node *node) {
    struct conf_service *s = r->service;
    static const struct item_type t = {CONF_TRUST_MAX, sizeof(*s->proxy_trust), true, take_trust_item};
    s->proxy_trust = read_items(r, node, &t, &s->nproxy_trust);
}

/* Networks as they are written, files as absolute names, so that their first byte distinguishes them. */
static bool take_access_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    char reason[256];
    struct text why = text_of(reason, sizeof(reason));
    struct cidr net;
    bool is_network = netlist_is_network(item->string);
    const char *entry = is_network || !item->string[0] ? item->string : load_path(r->l, item->string);
    if (is_network && netlist_parse(span_str(item->string), &net, &why) < 0)
        load_error(r->l, item->at, r->key, "%s", reason);
    else if (!entry || !entry[0])
        reading_refuse(r, item, "an address, a network or the name of a file with a list of them");
    else
        ((const char **)all)[n] = conf_strdup(r->l->conf, entry);
    return ((const char **)all)[n];
}

static const struct item_type access_entries = {CONF_ACCESS_MAX, sizeof(char *), false, take_access_item};

void read_access_allow(struct reading *r, const struct toml_node *node) {
    r->service->access_allow = read_items(r, node, &access_entries, &r->service->naccess_allow);
}

void read_access_deny(struct reading *r, const struct toml_node *node) {
    r->service->access_deny = read_items(r, node, &access_entries, &r->service->naccess_deny);
}

static bool take_ja4_item(struct reading *r, const struct toml_node *item, void *all, size_t n) {
    char expected[256];
    struct text why = text_of(expected, sizeof(expected));
    if (ja4_rule_check(item->string, &why) != 0) {
        reading_refuse(r, item, "%s", expected);
        return false;
    }
    ((const char **)all)[n] = conf_strdup(r->l->conf, item->string);
    return true;
}

void read_deny_ja4(struct reading *r, const struct toml_node *node) {
    static const struct item_type t = {CONF_JA4_MAX, sizeof(char *), false, take_ja4_item};
    r->service->deny_ja4 = read_items(r, node, &t, &r->service->ndeny_ja4);
}

static void add_secret_file(struct reading *r, const struct toml_node *node) {
    struct conf *c = r->l->conf;
    const char *path = node->string[0] ? load_path(r->l, node->string) : NULL;
    if (!c->ticket_secrets)
        c->ticket_secrets = conf_alloc(c, CONF_SECRETS_MAX * sizeof(*c->ticket_secrets));
    if (!path)
        reading_refuse(r, node, "a file name of 1 to %d bytes", PATH_MAX - 1);
    else
        c->ticket_secrets[c->nticket_secrets++] = path;
}

void read_secret_file(struct reading *r, const struct toml_node *node) {
    if (r->l->conf->nticket_secrets)
        reading_refuse(r, node, "one of secret_file and secret_files");
    else
        add_secret_file(r, node);
}

void read_secret_files(struct reading *r, const struct toml_node *node) {
    size_t n = list_len(r, node, CONF_SECRETS_MAX);
    if (r->l->conf->nticket_secrets || node->nchildren == 0) {
        reading_refuse(r, node, node->nchildren ? "one of secret_file and secret_files" : "at least one file");
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (wants_string(r, &node->children[i]) && !comes_again(r, node, i))
            add_secret_file(r, &node->children[i]);
}
