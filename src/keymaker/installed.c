#include "keymaker/installed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base64url.h"
#include "base/durable.h"
#include "base/err.h"
#include "base/path.h"
#include "keymaker/key_file.h"
#include "keymaker/leaf.h"
#include "keymaker/version_file.h"
#include "tls/cert_chain.h"
#include "tls/pem_file.h"

#define CHAIN_NAME   "the issuer's answer"
#define VERSIONS_MAX 1000000000
#define EARLY_MAX_S  86400 /* by so much a clock may be behind */

struct path {
    char p[PATH_MAX];
};

static const char *path_of(struct path *to, const struct conf_managed *cert, const char *name) {
    return path_join(to->p, cert->dir, name);
}

static const char *version_path(struct path *to, const struct conf_managed *cert, uint64_t version, const char *name) {
    char in[64];
    struct text t = text_of(in, sizeof(in));
    text_addf(&t, "%llu%s%s", (unsigned long long)version, name[0] ? "/" : "", name);
    return path_of(to, cert, in);
}

int installed_next_key(const struct conf_managed *cert, EVP_PKEY **ret, struct text *why) {
    struct path path;
    return key_file_ensure(path_of(&path, cert, "next.key"), cert->key, ret, why);
}

void installed_forget_next_key(const struct conf_managed *cert) {
    struct path path;
    (void)unlink(path_of(&path, cert, "next.key")); /* there may be none */
}

/* ---- the one in use ---- */

static int read_chain(const struct conf_managed *cert, struct cert_chain *ret, struct text *why) {
    struct path path;
    struct pem_file f;
    int err = pem_file_read(path_of(&path, cert, "fullchain.pem"), "a PEM file", &f, why);
    if (err == 0)
        err = cert_chain_parse(&f, cert->id, NULL, NULL, ret, why);
    pem_file_fini(&f);
    ERR_clear_error();
    return err;
}

int installed_der(const struct conf_managed *cert, struct text *to, struct text *why) {
    struct cert_chain chain = {.leaf = NULL};
    uint8_t *der = NULL;
    int err = read_chain(cert, &chain, why);
    if (err < 0)
        return err;
    int len = i2d_X509(chain.leaf, &der);
    if (len > 0)
        base64url_add(to, span_of(der, (size_t)len));
    OPENSSL_free(der);
    cert_chain_fini(&chain);
    return len > 0 && !to->cut ? 0 : ERR_FORMAT;
}

void installed_inspect(const struct conf_managed *cert, uint8_t ari[static KEYMAKING_ARI_MAX], struct keymaking_cert *ret) {
    char line[1024];
    struct text unused = text_of(line, sizeof(line)); /* what cannot be used is ordered again */
    struct text id = text_of((char *)ari, KEYMAKING_ARI_MAX);
    struct cert_chain chain = {.leaf = NULL};
    *ret = (struct keymaking_cert){.from_issuer = false};
    if (read_chain(cert, &chain, &unused) < 0)
        return;
    ret->from_issuer = X509_self_signed(chain.leaf, 1) == 0; /* what its key may be used for does not matter */
    ret->names_right = leaf_names_are(chain.leaf, cert) && key_file_is(X509_get0_pubkey(chain.leaf), cert->key);
    ret->not_before = cert_chain_time(X509_get0_notBefore(chain.leaf));
    ret->not_after = cert_chain_time(X509_get0_notAfter(chain.leaf));
    if (ret->from_issuer && leaf_ari(chain.leaf, &id))
        ret->ari = span_of(ari, id.len);
    ret->version = installed_version(cert);
    cert_chain_fini(&chain);
}

/* ---- as the fleet counts ---- */

uint64_t installed_version(const struct conf_managed *cert) {
    struct path path;
    return version_file_read(path_of(&path, cert, "shared.version"));
}

int installed_set_version(const struct conf_managed *cert, uint64_t version) {
    struct path path;
    return version_file_write(path_of(&path, cert, "shared.version"), version);
}

/* ---- a new one ---- */

static int parse_chain(struct span pem, struct cert_chain *ret, struct text *why) {
    struct pem_file f = {.len = pem.len, .cap = pem.len};
    f.p = malloc(pem.len + 1); /* nothing secret */
    if (!f.p)
        return ERR_NOMEM;
    memcpy(f.p, pem.p, pem.len);
    int err = cert_chain_parse(&f, CHAIN_NAME, NULL, NULL, ret, why);
    free(f.p);
    ERR_clear_error();
    return err;
}

/* Clients take the one in use. */
static bool serves_well(const struct conf_managed *cert, int64_t now) {
    uint8_t ari[KEYMAKING_ARI_MAX];
    struct keymaking_cert used;
    installed_inspect(cert, ari, &used);
    return used.from_issuer && used.names_right && used.not_before <= now && now < used.not_after;
}

static int check_chain(const struct conf_managed *cert, const struct cert_chain *chain, const EVP_PKEY *key, struct text *why) {
    int64_t now = (int64_t)time(NULL), before = cert_chain_time(X509_get0_notBefore(chain->leaf)),
            after = cert_chain_time(X509_get0_notAfter(chain->leaf));
    const char *fault = NULL;
    if (EVP_PKEY_eq(X509_get0_pubkey(chain->leaf), key) != 1)
        fault = "found a certificate for another key, expected ours";
    else if (!leaf_names_are(chain->leaf, cert))
        fault = "found a certificate for other names, expected those that were asked for";
    else if (after <= before || after <= now)
        fault = "found a certificate that has expired, expected one that is valid";
    else if (before > now + EARLY_MAX_S && serves_well(cert, now))
        fault = "found a certificate that is not valid before tomorrow, expected one in place of the one in use, which is";
    else if (X509_get_ext_by_NID(chain->leaf, NID_tlsfeature, -1) >= 0)
        fault = "found a certificate that must be stapled, which was not asked for";
    else if (X509_check_issued(chain->leaf, chain->leaf) == X509_V_OK)
        fault = "found a self-signed certificate, expected one by the issuer";
    else if (!leaf_chain_holds(chain))
        fault = "found certificates that are not a chain, expected each to be followed by its issuer";
    if (!fault)
        return 0;
    text_addf(why, CHAIN_NAME ": %s", fault);
    return ERR_FORMAT;
}

static uint64_t version_in_use(const struct conf_managed *cert) {
    struct path path;
    char target[32];
    uint64_t version = 0;
    ssize_t n = readlink(path_of(&path, cert, "current"), target, sizeof(target) - 1);
    if (n <= 0)
        return 0;
    target[n] = 0;
    return text_parse_u64(target, VERSIONS_MAX, &version) == 0 ? version : 0;
}

static void remove_version(const struct conf_managed *cert, const char *version) {
    static const char *const names[] = {"fullchain.pem", "key.pem", "self-signed.crt", "self-signed.key"};
    struct path path;
    char in[64];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct text t = text_of(in, sizeof(in));
        text_addf(&t, "%s/%s", version, names[i]);
        (void)unlink(path_of(&path, cert, in)); /* not all are there */
    }
    (void)unlinkat(AT_FDCWD, path_of(&path, cert, version), AT_REMOVEDIR);
}

/* What was there before the last change stays, in case somebody has to go back. */
static void remove_old(const struct conf_managed *cert, uint64_t version) {
    char name[32];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "%llu", (unsigned long long)version);
    remove_version(cert, name);
}

static bool is_kind(const struct conf_managed *cert, const char *name, mode_t kind) {
    struct path path;
    struct stat st;
    return lstat(path_of(&path, cert, name), &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* A copy that somebody made by following links has a directory where the link should be. It stays until the next one. */
static void put_copy_aside(const struct conf_managed *cert) {
    struct path from, to;
    if (!is_kind(cert, "current", S_IFDIR))
        return;
    remove_version(cert, "current.copy");
    (void)!rename(path_of(&from, cert, "current"),
                  path_of(&to, cert, "current.copy")); /* else the link has no place, which is said */
}

/* LINK leads to TARGET, by one rename. */
static bool place_link(const struct conf_managed *cert, const char *target, const char *link) {
    struct path to, new;
    char name[64];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "%s.new", link);
    (void)unlink(path_of(&new, cert, name)); /* of an attempt that a crash ended */
    return symlinkat(target, AT_FDCWD, new.p) == 0 && rename(new.p, path_of(&to, cert, link)) == 0;
}

/* Files in their place are of such a copy, and would be served for ever. */
static bool has_links(const struct conf_managed *cert) {
    return is_kind(cert, "fullchain.pem", S_IFLNK) && is_kind(cert, "key.pem", S_IFLNK);
}

static int install_version(const struct conf_managed *cert, struct span pem, EVP_PKEY *key, struct text *why) {
    struct path path;
    char target[32];
    uint64_t old = version_in_use(cert), version = old + 1;
    struct text t = text_of(target, sizeof(target));
    text_addf(&t, "%llu", (unsigned long long)version);
    if (mkdir(version_path(&path, cert, version, ""), 0700) < 0 && errno != EEXIST)
        goto failed;
    int err = key_file_write(version_path(&path, cert, version, "key.pem"), key, why);
    if (err < 0)
        return err;
    if (durable_write(version_path(&path, cert, version, "fullchain.pem"), 0644, pem) < 0)
        goto failed;
    put_copy_aside(cert);
    if (!place_link(cert, target, "current"))
        goto failed;
    if (!has_links(cert) &&
        (!place_link(cert, "current/key.pem", "key.pem") || !place_link(cert, "current/fullchain.pem", "fullchain.pem")))
        goto failed;
    if (durable_sync_dir(cert->dir) < 0)
        goto failed;
    if (old)
        remove_old(cert, old - 1);
    return 0;
failed:
    text_addf(why, "%s: the certificate cannot be written: %s", path.p, strerror(errno));
    return ERR_SYSTEM;
}

/* Asked once more after it has been done: the answer was lost. */
static bool is_in_use(const struct conf_managed *cert, const struct cert_chain *chain) {
    char line[256];
    struct text unused = text_of(line, sizeof(line));
    struct cert_chain used = {.leaf = NULL};
    if (read_chain(cert, &used, &unused) < 0)
        return false;
    bool same = X509_cmp(used.leaf, chain->leaf) == 0;
    cert_chain_fini(&used);
    return same;
}

int installed_put(const struct conf_managed *cert, struct span pem, struct text *why) {
    struct cert_chain chain = {.leaf = NULL};
    struct path path;
    EVP_PKEY *key = NULL;
    int err = parse_chain(pem, &chain, why);
    if (err < 0)
        return err;
    if (!is_in_use(cert, &chain)) {
        err = key_file_read(path_of(&path, cert, "next.key"), &key, why);
        if (err == 0)
            err = check_chain(cert, &chain, key, why);
        if (err == 0)
            err = install_version(cert, pem, key, why);
        if (err == 0)
            installed_forget_next_key(cert);
    }
    EVP_PKEY_free(key);
    cert_chain_fini(&chain);
    ERR_clear_error();
    return err;
}

int installed_check(const struct conf_managed *cert, struct span pem, const EVP_PKEY *key, struct text *why) {
    struct cert_chain chain = {.leaf = NULL};
    int err = parse_chain(pem, &chain, why);
    if (err == 0)
        err = check_chain(cert, &chain, key, why);
    cert_chain_fini(&chain);
    ERR_clear_error();
    return err;
}

/* One that was ordered without the store may be younger than what the store has. */
static bool is_older_than_used(const struct conf_managed *cert, const struct cert_chain *chain) {
    uint8_t ari[KEYMAKING_ARI_MAX];
    struct keymaking_cert used;
    installed_inspect(cert, ari, &used);
    return used.from_issuer && used.names_right && cert_chain_time(X509_get0_notBefore(chain->leaf)) < used.not_before;
}

/* What the fleet had before it was away for long: another one is ordered. */
static bool is_over(const struct cert_chain *chain) {
    return cert_chain_time(X509_get0_notAfter(chain->leaf)) <= (int64_t)time(NULL);
}

int installed_take(const struct conf_managed *cert, struct span pem, EVP_PKEY *key, bool *ret_used, struct text *why) {
    struct cert_chain chain = {.leaf = NULL};
    int err = parse_chain(pem, &chain, why);
    if (err < 0)
        return err;
    bool used = is_in_use(cert, &chain);
    if (!used && !is_older_than_used(cert, &chain) && !is_over(&chain)) {
        err = check_chain(cert, &chain, key, why);
        if (err == 0)
            err = install_version(cert, pem, key, why);
        used = true;
    }
    if (err == 0)
        *ret_used = used;
    cert_chain_fini(&chain);
    ERR_clear_error();
    return err;
}
