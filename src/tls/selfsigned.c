#include "tls/selfsigned.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/err.h"
#include "tls/cert_chain.h"
#include "tls/hostname.h"
#include "tls/key_read.h"

#define DAY_S              (24L * 60 * 60)
#define SELFSIGNED_VALID_S (365 * DAY_S)
#define RENEW_S            (7 * DAY_S)
#define CLOCK_SKEW         (60L * 60) /* a client's clock may be behind ours */
#define SERIAL_LEN         16
#define COMMON_NAME        "tls-off self-signed"

/* The names every certificate gets; those of the caller follow. */
static const char *const own_names[] = {"localhost", "127.0.0.1", "::1"};

/* One name or address out of the list. */
struct san_entry {
    char name[HOSTNAME_MAX + 1]; /* "" for an address */
    uint8_t ip[16];
    int ip_len;
};

static int read_entry(struct span s, struct san_entry *ret) {
    char text[INET6_ADDRSTRLEN] = "";
    memset(ret, 0, sizeof(*ret));
    if (s.len < sizeof(text))
        memcpy(text, s.p, s.len);
    if (inet_pton(AF_INET, text, ret->ip) == 1)
        ret->ip_len = 4;
    else if (inet_pton(AF_INET6, text, ret->ip) == 1)
        ret->ip_len = 16;
    else
        return hostname_read(s, true, ret->name);
    return 0;
}

/* Takes the next name off the list; blanks around it do not count. *RET_ANY is false at the end of the list. */
static int next_entry(const char **list, bool *ret_any, struct san_entry *ret) {
    const char *p = *list + strspn(*list, ", \t");
    size_t len = strcspn(p, ",");
    *list = p + len;
    while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
        len--;
    *ret_any = len > 0;
    return len ? read_entry(span_of(p, len), ret) : 0;
}

/* ---- are the present files good enough ---- */

static bool names_it(X509 *leaf, const struct san_entry *e) {
    if (e->ip_len)
        return X509_check_ip(leaf, e->ip, (size_t)e->ip_len, 0) == 1;
    /* a wildcard must be there literally; for X509_check_host() it would be no name */
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        found = n->type == GEN_DNS && span_eq(span_str(e->name), span_of(ASN1_STRING_get0_data(n->d.dNSName),
                                                                         (size_t)ASN1_STRING_length(n->d.dNSName)));
    }
    GENERAL_NAMES_free(names);
    return found;
}

static bool still_good(const char *crt, const char *key, const char *names) {
    char message[1]; /* why it is not good is no matter: a new one is made */
    struct text unused = text_of(message, sizeof(message));
    struct pem_file f;
    struct cert_chain chain = {.leaf = NULL};
    int err = pem_file_read(crt, "a PEM file", &f, &unused);
    if (!err)
        err = cert_chain_parse(&f, crt, NULL, NULL, &chain, &unused);
    pem_file_fini(&f);
    if (err)
        return false;
    time_t week = time(NULL) + RENEW_S;
    bool good = key_read_check(&chain, key, NULL, &unused) == 0 && X509_cmp_time(X509_get0_notAfter(chain.leaf), &week) > 0 &&
                X509_cmp_current_time(X509_get0_notBefore(chain.leaf)) < 0;
    bool any = true;
    while (good && any) {
        struct san_entry e;
        good = next_entry(&names, &any, &e) == 0 && (!any || names_it(chain.leaf, &e));
    }
    cert_chain_fini(&chain);
    ERR_clear_error();
    return good;
}

/* ---- making one ---- */

static bool add_san(GENERAL_NAMES *to, const struct san_entry *e) {
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_STRING *s = e->ip_len ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    const void *data = e->ip_len ? (const void *)e->ip : e->name;
    if (!n || !s || ASN1_STRING_set(s, data, e->ip_len ? e->ip_len : (int)strlen(e->name)) != 1 ||
        !sk_GENERAL_NAME_push(to, n)) {
        GENERAL_NAME_free(n);
        ASN1_STRING_free(s);
        return false;
    }
    GENERAL_NAME_set0_value(n, e->ip_len ? GEN_IPADD : GEN_DNS, s);
    return true;
}

static int add_alt_names(X509 *x, const char *names) {
    int err = ERR_CRYPTO;
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    bool ok = list != NULL;
    struct san_entry e;
    for (size_t i = 0; ok && i < ARRAY_LEN(own_names); i++)
        ok = read_entry(span_str(own_names[i]), &e) == 0 && add_san(list, &e);
    for (bool any = true; ok && any;)
        ok = next_entry(&names, &any, &e) == 0 && (!any || add_san(list, &e));
    if (ok && X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1)
        err = 0;
    GENERAL_NAMES_free(list);
    return err;
}

static bool add_extension(X509 *x, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *x) {
    uint8_t bytes[SERIAL_LEN];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and always of the same length */
    BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
    BN_free(bn);
    return ok;
}

static int fill_in(X509 *x, EVP_PKEY *key, const char *names) {
    X509_NAME *subject = X509_get_subject_name(x);
    if (X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) || !X509_gmtime_adj(X509_getm_notBefore(x), -CLOCK_SKEW) ||
        !X509_gmtime_adj(X509_getm_notAfter(x), SELFSIGNED_VALID_S) || X509_set_pubkey(x, key) != 1 ||
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)COMMON_NAME, -1, -1, 0) != 1 ||
        X509_set_issuer_name(x, subject) != 1)
        return ERR_CRYPTO;
    /* no CA: trust in this certificate is trust in this server alone */
    if (!add_extension(x, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(x, NID_key_usage, "critical,digitalSignature") || !add_extension(x, NID_ext_key_usage, "serverAuth") ||
        !add_extension(x, NID_subject_key_identifier, "hash") || add_alt_names(x, names) < 0)
        return ERR_CRYPTO;
    return X509_sign(x, key, EVP_sha256()) > 0 ? 0 : ERR_CRYPTO;
}

static int make_key_and_cert(const char *names, unsigned rsa_bits, EVP_PKEY **ret_key, X509 **ret_cert) {
    int err = ERR_CRYPTO;
    EVP_PKEY *key = rsa_bits ? EVP_RSA_gen(rsa_bits) : EVP_EC_gen("P-256");
    X509 *x = X509_new();
    if (key && x)
        err = fill_in(x, key, names);
    if (err) {
        X509_free(x);
        EVP_PKEY_free(key);
        return err;
    }
    *ret_key = key;
    *ret_cert = x;
    return 0;
}

/* ---- files ---- */

static int selfsigned_errno(struct text *why, const char *path, const char *what) {
    text_addf(why, "%s: %s: %s", path, what, strerror(errno));
    return ERR_SYSTEM;
}

/* Makes the directory and those above it that are missing. */
static int make_dir(const char *dir, struct text *why) {
    char path[PATH_MAX];
    size_t len = strlen(dir);
    if (len == 0 || len >= sizeof(path)) {
        errno = len ? ENAMETOOLONG : ENOENT;
        return selfsigned_errno(why, dir, "cannot make the directory");
    }
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        path[i] = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return selfsigned_errno(why, path, "cannot make the directory");
        path[i] = dir[i];
    }
    return 0;
}

/*
 * A file below the descriptor of the directory: replacing the directory does not redirect us. SHOWN
 * is its name for messages.
 */
struct dir_file {
    char path[64];
    char shown[PATH_MAX];
};

static void place_file(struct dir_file *p, int dir_fd, const char *dir, const char *name) {
    struct text path = text_of(p->path, sizeof(p->path)), shown = text_of(p->shown, sizeof(p->shown));
    text_addf(&path, "/proc/self/fd/%d/%s", dir_fd, name);
    text_addf(&shown, "%s/%s", dir, name);
}

/* Only a file that is ours, under this name alone; else it is made again. */
static bool make_private(const struct dir_file *key) {
    char name[32];
    struct stat st;
    struct text t = text_of(name, sizeof(name));
    int fd = open(key->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    text_addf(&t, "/proc/self/fd/%d", fd);
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == geteuid() &&
              ((st.st_mode & 07777) == 0600 || chmod(name, 0600) == 0); /* a read-only file system refuses any */
    if (fd >= 0)
        close(fd);
    return ok;
}

/* By a new file of a name of its own: others may write to the directory, and several processes may start at once. */
static int write_file(const struct dir_file *to, BIO *bytes, mode_t mode, struct text *why) {
    char temporary[PATH_MAX], *p = NULL;
    struct text t = text_of(temporary, sizeof(temporary));
    size_t len = (size_t)BIO_get_mem_data(bytes, &p);
    text_addf(&t, "%s.XXXXXX", to->path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd >= 0 && durable_replace(to->path, temporary, fd, mode, span_of(p, len)) == 0)
        return 0;
    return selfsigned_errno(why, to->shown, "cannot be written");
}

/* The key goes first: after a crash between the two they do not match, and the next start makes new ones. */
static int write_pair(const struct dir_file *crt, const struct dir_file *key, const char *names, unsigned rsa_bits,
                      struct text *why) {
    EVP_PKEY *pkey = NULL;
    X509 *cert = NULL;
    BIO *key_pem = BIO_new(BIO_s_mem()), *cert_pem = BIO_new(BIO_s_mem()); /* both wiped by BIO_free() */
    int err = ERR_CRYPTO;
    if (!key_pem || !cert_pem || make_key_and_cert(names, rsa_bits, &pkey, &cert) < 0 ||
        PEM_write_bio_PKCS8PrivateKey(key_pem, pkey, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(cert_pem, cert) != 1) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        text_addf(why, "%s: a self-signed certificate cannot be made: %s", crt->shown, reason ? reason : "no reason given");
        goto out;
    }
    err = write_file(key, key_pem, 0600, why);
    if (!err)
        err = write_file(crt, cert_pem, 0644, why);
out:
    BIO_free(key_pem);
    BIO_free(cert_pem);
    X509_free(cert);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return err;
}

/* The names come from the user, so they are checked before anything is written. */
static int judge_names(const char *names, struct text *why) {
    for (bool any = true; any;) {
        struct san_entry e;
        const char *rest = names;
        if (next_entry(&names, &any, &e) < 0) {
            rest += strspn(rest, ", \t");
            text_addf(why, "found \"%.*s\" among the names of the certificate, expected DNS names or IP addresses",
                      (int)(names - rest), rest);
            return ERR_FORMAT;
        }
    }
    return 0;
}

int selfsigned_ensure(const char *dir, const char *names, unsigned rsa_bits, int *ret_made, struct text *why) {
    struct dir_file crt, key;
    if (strlen(dir) + sizeof("/self-signed.key.XXXXXX") > PATH_MAX) {
        text_addf(why, "%s: the directory's name is too long", dir);
        return ERR_FORMAT;
    }
    int err = judge_names(names, why);
    if (!err)
        err = make_dir(dir, why);
    if (err)
        return err;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return selfsigned_errno(why, dir, "cannot be written");
    place_file(&crt, fd, dir, "self-signed.crt");
    place_file(&key, fd, dir, "self-signed.key");
    bool good = still_good(crt.path, key.path, names) && make_private(&key);
    if (!good)
        err = write_pair(&crt, &key, names, rsa_bits, why);
    close(fd);
    if (!err)
        *ret_made = !good;
    return err;
}
