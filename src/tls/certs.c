#include "tls/certs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rand.h"
#include "tls/cert_pair.h"
#include "tls/hostname.h"
#include "tls/suite.h"

/* The places libssl has for a certificate, as far as we fill them: both EC curves share one. */
enum slot { SLOT_RSA, SLOT_EC, SLOT_ED25519, SLOT_COUNT };

/* What serves a name; NULL where there is none. Borrows from the entries. */
struct row {
    char *name; /* "www.example.org", or "*.example.org" for a wildcard; NULL = row not in use */
    const struct cert_pair *by_slot[SLOT_COUNT];
};

struct certs {
    struct cert_pair **entries;
    size_t count, cap;
    struct row *rows; /* hash table, open addressing, never more than half full */
    size_t nrows, used_rows;
    struct hash_key hash_key;
    struct row fallback; /* for names of nobody: the first entry, and those that share its first name */
    SSL_CTX *taster;     /* libssl's own opinion of an entry, asked when it is loaded instead of at a handshake */
};

struct certs *certs_new(void) {
    struct certs *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    rand_bytes(&c->hash_key, sizeof(c->hash_key));
    c->taster = SSL_CTX_new(TLS_server_method());
    if (!c->taster) {
        certs_free(c);
        return NULL;
    }
    return c;
}

void certs_free(struct certs *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        cert_pair_free(c->entries[i]);
    for (size_t i = 0; i < c->nrows; i++)
        free(c->rows[i].name);
    free(c->entries);
    free(c->rows);
    free(c->fallback.name);
    SSL_CTX_free(c->taster);
    free(c);
}

size_t certs_count(const struct certs *c) {
    return c->count;
}

static enum slot slot_of(const struct cert_pair *pair) {
    switch (pair->kind) {
    case KEY_RSA:
        return SLOT_RSA;
    case KEY_ED25519:
        return SLOT_ED25519;
    default:
        return SLOT_EC;
    }
}

/* ---- the table of names ---- */

/* The row of NAME, or the free one where it belongs. The table has free rows. */
static struct row *row_at(struct row *rows, size_t nrows, const struct hash_key *key, const char *name) {
    size_t i = hash_bytes(key, span_str(name)) & (nrows - 1);
    while (rows[i].name && strcmp(rows[i].name, name) != 0)
        i = (i + 1) & (nrows - 1);
    return &rows[i];
}

static const struct row *find(const struct certs *c, const char *name) {
    if (!c->nrows)
        return NULL;
    const struct row *row = row_at(c->rows, c->nrows, &c->hash_key, name);
    return row->name ? row : NULL;
}

static int grow_rows(struct certs *c) {
    size_t n = c->nrows ? 2 * c->nrows : 64;
    struct row *rows = calloc(n, sizeof(*rows));
    if (!rows)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->nrows; i++)
        if (c->rows[i].name)
            *row_at(rows, n, &c->hash_key, c->rows[i].name) = c->rows[i];
    free(c->rows);
    c->rows = rows;
    c->nrows = n;
    return 0;
}

/* The first entry of a kind keeps the name. */
static int add_name(struct certs *c, const char *name, const struct cert_pair *pair) {
    if (2 * (c->used_rows + 1) > c->nrows && grow_rows(c) < 0)
        return ERR_NOMEM;
    struct row *row = row_at(c->rows, c->nrows, &c->hash_key, name);
    if (!row->name) {
        row->name = strdup(name);
        if (!row->name)
            return ERR_NOMEM;
        c->used_rows++;
    }
    enum slot slot = slot_of(pair);
    if (!row->by_slot[slot])
        row->by_slot[slot] = pair;

    if (c->count == 1 && !c->fallback.name && !(c->fallback.name = strdup(name)))
        return ERR_NOMEM;
    if (c->fallback.name && !c->fallback.by_slot[slot] && strcmp(name, c->fallback.name) == 0)
        c->fallback.by_slot[slot] = pair;
    return 0;
}

/* ---- what names a certificate has ---- */

/* Adds a name as it stands in the certificate; one that no client could ask for is passed over. */
static int add_asn1_name(struct certs *c, const ASN1_STRING *s, const struct cert_pair *pair) {
    char name[HOSTNAME_MAX + 1];
    int len = ASN1_STRING_length(s);
    if (len <= 0 || hostname_read(span_of(ASN1_STRING_get0_data(s), (size_t)len), true, name) < 0)
        return 0;
    return add_name(c, name, pair);
}

static int add_common_name(struct certs *c, const struct cert_pair *pair) {
    const X509_NAME *subject = X509_get_subject_name(pair->leaf);
    int last = -1;
    for (int i; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0;)
        last = i;
    if (last < 0)
        return 0;
    uint8_t *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    char name[HOSTNAME_MAX + 1];
    int err = 0;
    if (len > 0 && hostname_read(span_of(utf8, (size_t)len), true, name) == 0)
        err = add_name(c, name, pair);
    OPENSSL_free(utf8);
    return err;
}

/* NULL when there are none. */
static int read_alt_names(const struct cert_pair *pair, GENERAL_NAMES **ret, struct text *why) {
    int critical = 0;
    *ret = X509_get_ext_d2i(pair->leaf, NID_subject_alt_name, &critical, NULL);
    ERR_clear_error();
    if (*ret || critical == -1)
        return 0;
    text_addf(why, "%s: the certificate's alternative names cannot be read", pair->cert_file);
    return ERR_FORMAT;
}

/* RFC 6125 6.4.4: the common name counts only where no alternative name of a host is there. */
static int add_names(struct certs *c, const struct cert_pair *pair, const GENERAL_NAMES *names) {
    bool hosts = false;
    int err = 0;
    for (int i = 0; !err && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        hosts = hosts || n->type == GEN_DNS || n->type == GEN_IPADD;
        if (n->type == GEN_DNS)
            err = add_asn1_name(c, n->d.dNSName, pair);
    }
    if (!err && !hosts)
        err = add_common_name(c, pair);
    return err;
}

/* ---- adding ---- */

/* libssl has rules of its own (security level: weak hashes and keys anywhere in the chain). */
static int taste(struct certs *c, const struct cert_pair *pair, struct text *why) {
    ERR_clear_error();
    int ok = SSL_CTX_use_cert_and_key(c->taster, pair->leaf, pair->key, pair->chain, 1);
    if (ok != 1) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        text_addf(why, "%s: libssl refuses the certificate: %s", pair->cert_file, reason ? reason : "no reason given");
    }
    ERR_clear_error();
    return ok == 1 ? 0 : ERR_FORMAT;
}

static int reserve_entry(struct certs *c) {
    if (c->count < c->cap)
        return 0;
    size_t cap = c->cap ? 2 * c->cap : 8;
    struct cert_pair **entries = reallocarray(c->entries, cap, sizeof(*entries));
    if (!entries)
        return ERR_NOMEM;
    c->entries = entries;
    c->cap = cap;
    return 0;
}

/* Takes PAIR over. After ERR_NOMEM some of its names may be in the table, so it stays. */
static int add_entry(struct certs *c, struct cert_pair *pair, const GENERAL_NAMES *names) {
    if (reserve_entry(c) < 0) {
        cert_pair_free(pair);
        return ERR_NOMEM;
    }
    c->entries[c->count++] = pair;
    if (c->count == 1)
        c->fallback.by_slot[slot_of(pair)] = pair;
    return add_names(c, pair, names);
}

int certs_add_files(struct certs *c, const char *cert_file, const char *key_file, struct text *why) {
    struct cert_pair *pair = NULL;
    GENERAL_NAMES *names = NULL;
    int err = cert_pair_load(cert_file, key_file, &pair, why);
    if (!err)
        err = taste(c, pair, why);
    if (!err)
        err = read_alt_names(pair, &names, why);
    if (!err) {
        err = add_entry(c, pair, names);
        pair = NULL;
        if (err)
            text_addf(why, "%s: out of memory", cert_file);
    }
    GENERAL_NAMES_free(names);
    cert_pair_free(pair);
    return err;
}

static bool is_regular(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), s = strlen(suffix);
    return n > s && strcmp(name + n - s, suffix) == 0;
}

static int is_candidate(const struct dirent *d) {
    return d->d_name[0] != '.' && (has_suffix(d->d_name, ".pem") || has_suffix(d->d_name, ".crt"));
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Adds one file of a folder when it is half of a pair. *RET_PAIR tells. */
static int add_from_folder(struct certs *c, const char *folder, const char *name, bool *ret_pair, struct text *why) {
    char *cert = NULL, *key = NULL;
    int err = ERR_NOMEM;
    *ret_pair = false;
    if (asprintf(&cert, "%s/%s", folder, name) < 0) {
        cert = NULL;
        goto out;
    }
    if (asprintf(&key, "%.*s.key", (int)(strlen(cert) - 4), cert) < 0) {
        key = NULL;
        goto out;
    }
    err = 0;
    if (!is_regular(cert))
        goto out;
    if (is_regular(key)) {
        *ret_pair = true;
        err = certs_add_files(c, cert, key, why);
    } else if (has_suffix(name, ".pem") && cert_pair_has_key(cert)) {
        *ret_pair = true;
        err = certs_add_files(c, cert, cert, why);
    }
out:
    if (!cert || !key)
        text_addf(why, "%s: out of memory", folder);
    free(cert);
    free(key);
    return err;
}

int certs_add_folder(struct certs *c, const char *folder, struct text *why) {
    struct dirent **list = NULL;
    int n = scandir(folder, &list, is_candidate, by_name);
    if (n < 0) {
        text_addf(why, "%s: the folder cannot be read: %s", folder, strerror(errno));
        return ERR_SYSTEM;
    }
    int err = 0;
    size_t pairs = 0;
    for (int i = 0; i < n; i++) {
        size_t len_before = why->len;
        bool pair;
        if (err)
            text_add(why, "; ");
        int this_err = add_from_folder(c, folder, list[i]->d_name, &pair, why);
        if (err && !this_err && !why->cut) {
            why->len = len_before; /* nothing came behind the separator */
            why->p[len_before] = '\0';
        }
        err = err ? err : this_err;
        pairs += pair;
        free(list[i]);
    }
    free(list);
    if (!err && !pairs) {
        text_addf(why, "%s: found no certificate with its key, expected x.pem or x.crt with x.key, or both in x.pem", folder);
        err = ERR_FORMAT;
    }
    return err;
}

/* ---- choosing ---- */

static void fill(const struct cert_pair *to[SLOT_COUNT], const struct row *row) {
    for (unsigned s = 0; s < SLOT_COUNT; s++)
        if (!to[s])
            to[s] = row->by_slot[s];
}

/* The best entry of each slot for a name. */
static enum certs_match choose(const struct certs *c, const char *name, const struct cert_pair *ret[SLOT_COUNT]) {
    enum certs_match match = CERTS_NONE;
    size_t len = strlen(name);
    memset(ret, 0, SLOT_COUNT * sizeof(*ret));
    const struct row *row = NULL;
    if (len && len <= HOSTNAME_MAX && name[0] != '*')
        row = find(c, name);
    if (row) {
        fill(ret, row);
        match = CERTS_EXACT;
    }
    const char *dot = len <= HOSTNAME_MAX ? strchr(name, '.') : NULL;
    if (dot && dot > name) {
        char wildcard[HOSTNAME_MAX + 2] = "*";
        memcpy(wildcard + 1, dot, strlen(dot) + 1);
        row = find(c, wildcard);
        if (row)
            fill(ret, row);
        if (row && match == CERTS_NONE)
            match = CERTS_WILDCARD;
    }
    if (match == CERTS_NONE && c->count) {
        fill(ret, &c->fallback);
        match = CERTS_DEFAULT;
    }
    return match;
}

enum certs_match certs_lookup(const struct certs *c, const char *name) {
    const struct cert_pair *chosen[SLOT_COUNT];
    return choose(c, name, chosen);
}

int certs_use(const struct certs *c, const char *name, SSL *ssl) {
    const struct cert_pair *chosen[SLOT_COUNT];
    if (choose(c, name, chosen) == CERTS_NONE)
        return ERR_CRYPTO;
    for (unsigned s = 0; s < SLOT_COUNT; s++)
        if (chosen[s] && SSL_use_cert_and_key(ssl, chosen[s]->leaf, chosen[s]->key, chosen[s]->chain, 1) != 1)
            return ERR_CRYPTO;
    return 0;
}

/* RFC 8446 4.2.3. PKCS #1 v1.5 ends with TLS 1.2, where an EC key's curve is not tied to the hash either. */
static bool serves(const struct cert_pair *pair, uint16_t sigalg, bool tls12) {
    switch (sigalg) {
    case 0x0804: /* rsa_pss_rsae_sha256, 384, 512 */
    case 0x0805:
    case 0x0806:
        return pair->kind == KEY_RSA;
    case 0x0401: /* rsa_pkcs1_sha256, 384, 512 */
    case 0x0501:
    case 0x0601:
        return pair->kind == KEY_RSA && tls12;
    case 0x0403: /* ecdsa_secp256r1_sha256 */
        return pair->kind == KEY_EC_P256 || (pair->kind == KEY_EC_P384 && tls12);
    case 0x0503: /* ecdsa_secp384r1_sha384 */
        return pair->kind == KEY_EC_P384 || (pair->kind == KEY_EC_P256 && tls12);
    case 0x0603: /* ecdsa_secp521r1_sha512 */
        return (pair->kind == KEY_EC_P256 || pair->kind == KEY_EC_P384) && tls12;
    case 0x0807: /* ed25519 */
        return pair->kind == KEY_ED25519;
    default:
        return false;
    }
}

bool certs_has_sigalg(const struct certs *c, const char *name, struct span sigalgs, uint16_t version) {
    const struct cert_pair *chosen[SLOT_COUNT];
    (void)choose(c, name, chosen); /* CERTS_NONE leaves no entry to ask */
    for (unsigned s = 0; s < SLOT_COUNT; s++)
        for (size_t i = 0; chosen[s] && i + 1 < sigalgs.len; i += 2)
            if (serves(chosen[s], (uint16_t)(sigalgs.p[i] << 8 | sigalgs.p[i + 1]), version <= TLS_1_2))
                return true;
    return false;
}

/* ---- warnings ---- */

struct warner {
    int days;
    void (*line)(void *ctx, const char *text);
    void *ctx;
};

static void date_of(const ASN1_TIME *t, char ret[static 32]) {
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(ret, 32, "%Y-%m-%d", &tm) == 0)
        memcpy(ret, "?", 2);
}

/* N counts from 1, the leaf. */
static void warn_of_time(const struct warner *w, const char *file, int n, const X509 *x) {
    char line[PATH_MAX + 160], date[32];
    struct text t = text_of(line, sizeof(line));
    int days = 0, seconds = 0;
    text_addf(&t, "%s: certificate %d of the chain ", file, n);
    size_t len = t.len;
    const ASN1_TIME *from = X509_get0_notBefore(x), *until = X509_get0_notAfter(x);
    if (ASN1_TIME_diff(&days, &seconds, NULL, from) != 1) {
        text_add(&t, "has a time that cannot be read");
    } else if (days > 0 || seconds > 0) {
        date_of(from, date);
        text_addf(&t, "is not valid before %s", date);
    } else if (ASN1_TIME_diff(&days, &seconds, NULL, until) != 1) {
        text_add(&t, "has a time that cannot be read");
    } else if (days < 0 || seconds < 0) {
        date_of(until, date);
        text_addf(&t, "expired on %s", date);
    } else if (days < w->days) {
        date_of(until, date);
        text_addf(&t, "expires on %s, in %d day%s", date, days, days == 1 ? "" : "s");
    }
    if (t.len > len)
        w->line(w->ctx, line);
}

static void warn_of_mode(const struct warner *w, const struct cert_pair *pair) {
    char line[PATH_MAX + 160];
    struct text t = text_of(line, sizeof(line));
    if (!(pair->key_mode & (S_IRWXG | S_IRWXO)))
        return;
    text_addf(&t, "%s: the private key is open to other users (mode %04o), expected 0600", pair->key_file,
              (unsigned)pair->key_mode);
    w->line(w->ctx, line);
}

void certs_warnings(const struct certs *c, int days, void (*line)(void *ctx, const char *text), void *ctx) {
    const struct warner w = {days, line, ctx};
    for (size_t i = 0; i < c->count; i++) {
        const struct cert_pair *pair = c->entries[i];
        warn_of_time(&w, pair->cert_file, 1, pair->leaf);
        for (int k = 0; k < sk_X509_num(pair->chain); k++)
            warn_of_time(&w, pair->cert_file, k + 2, sk_X509_value(pair->chain, k));
        warn_of_mode(&w, pair);
    }
    ERR_clear_error();
}
