/*
 * From TOML (or the two flags of the shortest use) to a checked struct conf. Runs in the config role and in `tls-off check`
 * only. Everything wrong is reported at once, each fault as one line:
 *
 *   config.toml:12:9: service.web.balance: found "fastest", expected "least-sessions", "round-robin" or "client-hash"
 */
#pragma once

#include "access/access_write.h"
#include "base/defs.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/diagnostics.h"

/*
 * What the loader must know of TLS without knowing TLS: given by the caller, who may. Functions that return int give 0 or a
 * negative enum err and then add one line for the operator to WHY. WARN may be called any number of times.
 */
typedef void (*conf_warn_fn)(void *ctx, const char *text);
typedef void (*conf_name_fn)(void *ctx, const char *name);

struct conf_capabilities {
    /* Addresses whose asker listens there already: they are not tried. */
    const struct addr *held;
    size_t nheld;

    /* What the next six gather: the credential store in the making. */
    void *creds;

    /* And what the lists of networks go to, in the order of conf.services. */
    struct access_writer *access;

    /* Begins the next service of the store, in the order of conf.services. FETCHED: directory of OCSP responses; NULL = none.
     */
    int (*add_service)(void *creds, const char *name, const char *fetched);

    /* Reads, checks and adds a pair, or every pair of a directory (at least one). */
    int (*add_certs)(void *creds, const struct conf_cert *cert, struct text *why, conf_warn_fn warn, void *ctx);

    /* Reads, checks and adds the CA certificates, then the CRLs, of the service's client authentication. */
    int (*add_client_ca)(void *creds, const char *file, struct text *why, conf_warn_fn warn, void *ctx);
    int (*add_client_crl)(void *creds, const char *file, struct text *why, conf_warn_fn warn, void *ctx);

    /* Every host name of the certificates added to service I, each once or more; valid until something is added. */
    void (*each_name)(void *creds, size_t service, conf_name_fn take, void *ctx);

    /* TEXT as clients ask for that name (lower case, A-labels), at most 255 characters. ERR_FORMAT: no client can ask for it;
     * ERR_UNSUPPORTED: beyond ASCII, and libidn2 is not installed. */
    int (*host_name)(const char *text, char *ret);

    /* The store, sealed; nothing can be added then. ERR_LIMIT, ERR_NOMEM, ERR_SYSTEM (errno). */
    int (*seal)(void *creds, int *ret_fd);

    /* self-signed.crt and self-signed.key are in DIR, for NAMES ("a.example.org,192.0.2.7", may be empty), with a
     * key of RSA when RSA_BITS are given; *ret_made: whether
     * they were made just now. */
    int (*ensure_selfsigned)(const char *dir, const char *names, unsigned rsa_bits, int *ret_made, struct text *why);

    /* Cipher suites in our order and groups, by the names of the IANA registry; NULL past the end. *ret_version: the only
     * TLS version of that suite. *ret_usable: whether the installed library has that group. */
    const char *(*suite_at)(size_t i, uint16_t *ret_id, uint16_t *ret_version);
    const char *(*group_at)(size_t i, uint16_t *ret_id, bool *ret_usable);

    /* The engine of that name works on this machine. */
    bool (*engine_usable)(const char *name);
};

/* For `tls-off check`: nothing is written, and a port that another tls-off may hold is a warning only. */
#define LOAD_FOR_CHECK 1u

/*
 * Reads and checks FILE (INPUT_STDIN: standard input, whose names start from here), all that it names included. NULL when there
 * were errors; the diagnostics name them.
 */
struct conf *conf_load_file(const char *file, unsigned flags, const struct conf_capabilities *capabilities,
                            struct diagnostics *f);

/* What the command line says in the place of a file. */
struct conf_flags {
    const char *const *listen, *const *backend, *const *name;
    size_t nlisten, nbackend, nname;
    const char *directory; /* of the issuer that gives a certificate for the names; "" = a self-signed one is used */
    const char *ca_file;   /* trust for that directory; "" = the system's */
};

/* The shortest use: one service "default" from addresses to listen on and backends; its certificate is kept in the state
 * directory. */
struct conf *conf_load_flags(const struct conf_flags *flags, const struct conf_capabilities *capabilities,
                             struct diagnostics *f);
