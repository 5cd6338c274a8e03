/* Certificates that are ordered from ACME issuers (RFC 8555): a part of the configuration. Texts and arrays as in conf.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_ISSUERS_MAX      16
#define CONF_CONTACTS_MAX     8
#define CONF_ACME_NAMES_MAX   100 /* of one certificate: the most that public issuers take */
#define CONF_ACME_CERTS_MAX   1024
#define CONF_ACME_TEXT_MAX    1024 /* bytes of a URL and the like */
#define CONF_ACME_PROFILE_MAX 64

/* Where no other is named: Let's Encrypt. */
#define ACME_DEFAULT_DIRECTORY "https://acme-v02.api.letsencrypt.org/directory"

enum managed_key { MANAGED_ECDSA_P256, MANAGED_ECDSA_P384, MANAGED_RSA_2048, MANAGED_RSA_3072, MANAGED_RSA_4096, MANAGED_KEYS };

enum challenge_type { CHALLENGE_TLS_ALPN_01, CHALLENGE_HTTP_01, CHALLENGE_DNS_01, CHALLENGE_DNS_PERSIST_01, CHALLENGE_TYPES };

struct conf_issuer {
    const char *name;
    const char *directory; /* https URL */
    const char **contact;
    size_t ncontact;
    uint8_t *challenges; /* enum challenge_type, in order of preference; never empty */
    size_t nchallenges;
    uint8_t *keys; /* enum managed_key: one certificate each; never empty */
    size_t nkeys;
    const char *profile; /* "" = the issuer's default */
    bool profile_required;
    const char *preferred_chain; /* common name of an issuer in the chain; "" = the first chain */
    const char *ca_file;         /* trust for the directory itself, absolute; NULL = the system's */
    const char *eab_kid;         /* external account binding; NULL = none */
    const char *eab_key_file;    /* absolute */
    const char *hook;            /* program that puts DNS records into place, absolute; NULL only when none is needed */
    const char *hook_user;       /* as configured; NULL = conf.user */
    uint32_t hook_uid, hook_gid; /* whose rights it has; UINT32_MAX = ours */
};

/* One certificate of a service. */
struct conf_managed {
    const char *id;  /* "web.ecdsa-p256": of a directory, in logs and commands */
    const char *dir; /* where its files are, absolute */
    uint16_t service;
    enum managed_key key;
    const char **names; /* of hosts in lower case, or addresses as inet_ntop() writes them */
    size_t nnames;
    uint16_t *issuers; /* indices, in order of preference; never empty */
    size_t nissuers;
};

struct conf_acme {
    const char *dir; /* state_dir/acme; NULL = the acme role has nothing to do */
    struct conf_issuer *issuers;
    size_t nissuers;
    struct conf_managed *certs;
    size_t ncerts;
    bool tls_route; /* clients that speak acme-tls/1 alone are led to TLS_SERVICE */
    uint16_t tls_service;
    bool http_redirects; /* what is no challenge is sent to https */
    const char *webroot; /* of another program that serves port 80, absolute; NULL = none */
};

/* Sockets of the acme role below its directory: where clients with these challenges are led to. */
#define ACME_TLS_DOOR  "run/tls"
#define ACME_HTTP_DOOR "run/http"

/* OCSP responses that it has fetched, by the digest of what they are about. */
#define ACME_OCSP_DIR "run/ocsp"

/* Beside a door: the socket that is to take its place. */
#define ACME_NEXT_DOOR ".new"

/* Which issuer is named so; NISSUERS = none. */
size_t conf_find_issuer(const struct conf_acme *a, const char *name);

/* Whether a managed name is an address: 4 or 16 bytes in TO, else 0. */
size_t managed_name_address(const char *name, uint8_t to[static 16]);

/* "ecdsa-p256"; static storage. */
const char *managed_key_name(enum managed_key key);

/* What instances of a fleet call a certificate of these names, key and issuers, wherever it is configured; and an account. */
#define CONF_SHARED_NAME_MAX 160
void managed_shared_name(const struct conf_acme *a, const struct conf_managed *c, char to[static CONF_SHARED_NAME_MAX]);
/* The first of its names by the alphabet, in whatever order they are configured. */
const char *managed_first_name(const struct conf_managed *c);
void issuer_shared_name(const struct conf_issuer *i, char to[static CONF_SHARED_NAME_MAX]);

/* Another one: by its name or directory, which an account belongs to; for other names, in whatever order they are configured.
 */
uint64_t issuer_number(const struct conf_issuer *i);
uint64_t managed_names_number(const struct conf_managed *c);

/* "tls-alpn-01"; static storage. */
const char *challenge_type_name(enum challenge_type type);
