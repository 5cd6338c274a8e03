#include "keymaker/fleet_keys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/err.h"
#include "base/rd.h"
#include "base/secret.h"
#include "base/wr.h"
#include "keymaker/installed.h"
#include "keymaker/key_file.h"
#include "keymaker/version_file.h"
#include "tls/pem_file.h"

#define PLAIN_MAX       (KEYMAKING_DATA_MAX - SEAL_MORE - 8)
#define SEALED_NAME_MAX (CONF_SHARED_NAME_MAX + 16)

struct file_path {
    char p[PATH_MAX];
};

/* What the operation is about, as the store names it. */
static void name_object(const struct fleet_keys *s, const struct keymaking_request *q, char to[static SEALED_NAME_MAX]) {
    char name[CONF_SHARED_NAME_MAX];
    bool account = q->op == KEYMAKING_SEAL_ACCOUNT || q->op == KEYMAKING_OPEN_ACCOUNT;
    bool key = q->op == KEYMAKING_SEAL_KEY || q->op == KEYMAKING_OPEN_KEY;
    if (account)
        issuer_shared_name(&s->conf->issuers[q->issuer], name);
    else
        managed_shared_name(s->conf, &s->conf->certs[q->cert], name);
    (void)snprintf(to, SEALED_NAME_MAX, "%s/%s", account ? "account" : key ? "key" : "certificate", name); /* has room */
}

/* Where the private key of it is. */
static const char *key_path_of(const struct fleet_keys *s, const struct keymaking_request *q, struct file_path *to) {
    struct text t = text_of(to->p, sizeof(to->p));
    if (q->op == KEYMAKING_SEAL_ACCOUNT || q->op == KEYMAKING_OPEN_ACCOUNT)
        text_addf(&t, "%s/accounts/%s.key", s->conf->dir, s->conf->issuers[q->issuer].name);
    else
        text_addf(&t, "%s/next.key", s->conf->certs[q->cert].dir);
    return to->p;
}

static const char *account_version_path(const struct fleet_keys *s, const struct keymaking_request *q, struct file_path *to) {
    struct text t = text_of(to->p, sizeof(to->p));
    text_addf(&t, "%s/accounts/%s.version", s->conf->dir, s->conf->issuers[q->issuer].name);
    return to->p;
}

/* ---- out ---- */

static int check_certificate(const struct fleet_keys *s, const struct keymaking_request *q, struct span pem, struct span chain,
                             struct text *why) {
    EVP_PKEY *key = NULL;
    int err = key_file_parse(pem, &key);
    if (err == 0)
        err = installed_check(&s->conf->certs[q->cert], chain, key, why);
    EVP_PKEY_free(key);
    return err;
}

static int ensure_order_key(const struct fleet_keys *s, const struct keymaking_request *q, struct text *why) {
    EVP_PKEY *key = NULL;
    int err = installed_next_key(&s->conf->certs[q->cert], &key, why);
    EVP_PKEY_free(key);
    return err;
}

/* Among the issuers of the certificate: they are the same on all instances, their names need not be. */
static uint8_t place_of_issuer(const struct conf_managed *cert, uint16_t issuer) {
    size_t i = 0;
    while (i < cert->nissuers && cert->issuers[i] != issuer)
        i++;
    return (uint8_t)i;
}

/* Others will have it: its key is not changed here any more, where the machine leaves the fleet neither. */
static int note_shared_account(const struct fleet_keys *s, const struct keymaking_request *q, uint64_t version) {
    struct file_path path;
    return version_file_read(account_version_path(s, q, &path)) ? 0 : version_file_write(path.p, version);
}

/* The key's file, of a certificate the place of its issuer, then what belongs to it. */
static int seal_object(const struct fleet_keys *s, const struct keymaking_request *q, uint64_t version, struct span beside,
                       uint8_t *plain, uint8_t *to, size_t cap, size_t *ret_len, struct text *why) {
    struct file_path path;
    struct pem_file f = {.p = NULL};
    char name[SEALED_NAME_MAX];
    int err = q->op == KEYMAKING_SEAL_KEY ? ensure_order_key(s, q, why) : 0;
    if (err == 0)
        err = pem_file_read(key_path_of(s, q, &path), "a private key in PEM", &f, why);
    if (err == ERR_SYSTEM && q->op == KEYMAKING_SEAL_CERT && errno == ENOENT)
        err = ERR_NOT_FOUND; /* the order is of no use: nobody has its key */
    if (err < 0)
        return err;
    if (q->op == KEYMAKING_SEAL_CERT)
        err = check_certificate(s, q, pem_file_span(&f), beside, why);
    struct wr w = wr_of(plain, PLAIN_MAX);
    wr_vec16(&w, pem_file_span(&f));
    if (q->op == KEYMAKING_SEAL_CERT)
        wr_u8(&w, place_of_issuer(&s->conf->certs[q->cert], q->issuer));
    wr_span(&w, beside);
    pem_file_fini(&f);
    name_object(s, q, name);
    if (err == 0 && q->op == KEYMAKING_SEAL_ACCOUNT)
        err = note_shared_account(s, q, version);
    if (err == 0)
        err = wr_end(&w) ? seal_close(&s->seal, name, version, wr_written(&w), to, cap, ret_len) : ERR_LIMIT;
    return err;
}

/* ---- in ---- */

static int take_certificate(const struct conf_managed *cert, uint64_t version, struct span pem, struct span chain,
                            bool *ret_used, struct text *why) {
    EVP_PKEY *key = NULL;
    if (version < installed_version(cert)) {
        text_addf(why, "the store has version %llu of it, and version %llu was taken before", (unsigned long long)version,
                  (unsigned long long)installed_version(cert));
        return ERR_FORMAT;
    }
    int err = key_file_parse(pem, &key);
    if (err == 0)
        err = installed_take(cert, chain, key, ret_used, why);
    if (err == 0)
        err = installed_set_version(cert, version);
    if (err == 0)
        installed_forget_next_key(cert);
    EVP_PKEY_free(key);
    return err;
}

static int take_fleet_key(const char *path, struct span pem, struct text *why) {
    EVP_PKEY *key = NULL;
    int err = key_file_parse(pem, &key);
    if (err == 0)
        err = durable_write(path, 0600, pem);
    if (err == ERR_SYSTEM)
        text_addf(why, "%s: cannot be written: %s", path, strerror(errno));
    EVP_PKEY_free(key);
    return err;
}

/* What a rollover before the fleet has left behind. */
static int forget_waiting_key(const struct fleet_keys *s, const struct keymaking_request *q, struct text *why) {
    struct file_path path;
    struct text t = text_of(path.p, sizeof(path.p));
    text_addf(&t, "%s/accounts/%s.next.key", s->conf->dir, s->conf->issuers[q->issuer].name);
    if (unlink(path.p) == 0 || errno == ENOENT)
        return 0;
    text_addf(why, "%s: cannot be removed: %s", path.p, strerror(errno));
    return ERR_SYSTEM;
}

static int take_fleet_account(const struct fleet_keys *s, const struct keymaking_request *q, uint64_t version, struct span pem,
                              struct text *why) {
    struct file_path path, beside;
    if (version < version_file_read(account_version_path(s, q, &beside))) {
        text_add(why, "the store has an older account than the one in use");
        return ERR_FORMAT;
    }
    int err =
        forget_waiting_key(s, q, why); /* of the account before this one; first, or it could be put into this one's place */
    if (err == 0)
        err = take_fleet_key(key_path_of(s, q, &path), pem, why);
    return err == 0 ? version_file_write(beside.p, version) : err;
}

/* The object outlives its order: a key that is in use is of an earlier one. */
static int refuse_used_key(const struct conf_managed *cert, struct span pem, struct text *why) {
    char line[512];
    struct file_path path;
    struct text p = text_of(path.p, sizeof(path.p)), unused = text_of(line, sizeof(line));
    EVP_PKEY *key = NULL, *used = NULL;
    text_addf(&p, "%s/key.pem", cert->dir);
    bool same = key_file_parse(pem, &key) == 0 && key_file_read(path.p, &used, &unused) == 0 && EVP_PKEY_eq(key, used) == 1;
    EVP_PKEY_free(key);
    EVP_PKEY_free(used);
    if (same)
        text_add(why, "the order's key in the store is the one in use: it is of an earlier order");
    return same ? ERR_FORMAT : 0;
}

static int open_object(const struct fleet_keys *s, const struct keymaking_request *q, uint64_t version, struct span sealed,
                       uint8_t *plain, uint8_t *to, size_t cap, size_t *ret_len, struct text *why) {
    struct file_path path;
    char name[SEALED_NAME_MAX];
    size_t len = 0;
    name_object(s, q, name);
    int err = seal_open(&s->seal, name, version, sealed, plain, PLAIN_MAX, &len);
    if (err < 0) {
        text_addf(why, "%s of the store cannot be opened: sealed with another storage_key_file, or changed", name);
        return err;
    }
    struct rd r = rd_of(span_of(plain, len));
    bool is_cert = q->op == KEYMAKING_OPEN_CERT, used = true;
    struct span pem = rd_vec16(&r);
    uint8_t place = is_cert ? rd_u8(&r) : 0;
    struct span beside = rd_bytes(&r, rd_left(&r));
    if (!rd_end(&r) || pem.len == 0 || (is_cert && place >= s->conf->certs[q->cert].nissuers))
        return ERR_FORMAT;
    if (q->op == KEYMAKING_OPEN_KEY) {
        err = refuse_used_key(&s->conf->certs[q->cert], pem, why);
        return err == 0 ? take_fleet_key(key_path_of(s, q, &path), pem, why) : err;
    }
    struct span text = is_cert ? span_str(s->conf->issuers[s->conf->certs[q->cert].issuers[place]].name) : beside;
    if (text.len == 0 || text.len > KEYMAKING_URL_MAX || text.len > cap)
        return ERR_FORMAT;
    err = is_cert ? take_certificate(&s->conf->certs[q->cert], version, pem, beside, &used, why)
                  : take_fleet_account(s, q, version, pem, why);
    if (used)
        memcpy(to, text.p, text.len);
    *ret_len = used ? text.len : 0;
    return err;
}

/* ---- all ---- */

int fleet_keys_init(struct fleet_keys *s, const struct conf *conf, struct text *why) {
    *s = (struct fleet_keys){.conf = &conf->acme};
    return conf->store.socket && conf->store.key_file ? seal_init(&s->seal, SEAL_PRIVATE_KEYS, conf->store.key_file, why) : 0;
}

bool fleet_keys_is_asked(enum keymaking_op op) {
    return op >= KEYMAKING_SEAL_CERT && op <= KEYMAKING_OPEN_ACCOUNT;
}

int fleet_keys_answer(const struct fleet_keys *s, const struct keymaking_request *q, uint8_t *to, size_t cap, size_t *ret_len,
                      struct text *why) {
    struct rd r = rd_of(q->data);
    uint64_t version = rd_u64(&r);
    struct span data = rd_bytes(&r, rd_left(&r));
    if (!rd_end(&r) || version == 0 || version > INT64_MAX)
        return ERR_FORMAT;
    uint8_t *plain = secret_alloc(PLAIN_MAX, NULL);
    *ret_len = 0;
    if (!plain)
        return ERR_NOMEM;
    int err = q->op < KEYMAKING_OPEN_CERT ? seal_object(s, q, version, data, plain, to, cap, ret_len, why)
                                          : open_object(s, q, version, data, plain, to, cap, ret_len, why);
    secret_free(plain, PLAIN_MAX);
    return err;
}
