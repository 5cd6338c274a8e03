/*
 * Between the acme role and the observer, over one SOCK_SEQPACKET link: how each managed certificate and each OCSP response
 * that is fetched stands, sent when that changes and to a new observer; and what operators ask for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"

enum managed_type {
    MANAGED_STATUS = 1, /* to the observer */
    MANAGED_ACCOUNT,    /* to the observer: the account at an issuer */
    MANAGED_COMMAND,    /* to the acme role */
    MANAGED_OCSP,       /* to the observer: the OCSP response for a certificate in use */
};

enum managed_command_kind { MANAGED_RENEW, MANAGED_REVOKE, MANAGED_ROLLOVER, MANAGED_COMMANDS };

#define MANAGED_ERROR_MAX 512
#define MANAGED_URL_MAX   1024
#define MANAGED_NAME_MAX  255

/* Times are seconds since 1970, 0 = none. */
struct managed_status {
    uint16_t cert;   /* in the configuration */
    uint16_t issuer; /* the one that is or was asked, in the configuration */
    uint8_t state;   /* enum order_state */
    bool from_issuer;
    bool names_right;
    bool alarm; /* somebody should look */
    int64_t not_before, not_after;
    int64_t renew_at, next_at, installed_at;
    int64_t window[2]; /* suggested by the issuer */
    uint32_t failures; /* in a row */
    uint64_t issued, failed;
    struct span state_name; /* of STATE */
    struct span error;      /* of the last attempt; empty = it did not fail */
};

/* The account at an issuer, and what names it in DNS records (dns-persist-01); only URL is never empty. */
struct managed_account {
    uint16_t issuer;
    struct span url, thumbprint, hash_prefix, domain;
};

enum managed_ocsp_state {
    MANAGED_OCSP_NOBODY,  /* the certificate names no responder that can be asked */
    MANAGED_OCSP_WAITING, /* nothing is known of it yet */
    MANAGED_OCSP_GOOD,
    MANAGED_OCSP_REVOKED,
    MANAGED_OCSP_STATES
};

struct managed_ocsp {
    uint32_t set, entry; /* in that credential store */
    uint8_t state;       /* enum managed_ocsp_state: what the last answer said that held */
    int64_t from, until; /* of that answer */
    int64_t next_at;     /* when the responder is asked again */
    uint32_t failures;   /* in a row */
    struct span error;   /* of the last try; empty = it did not fail */
};

struct managed_command {
    enum managed_command_kind kind;
    uint16_t target; /* a certificate; of MANAGED_ROLLOVER an issuer */
    uint8_t reason;  /* of a revocation (RFC 5280 5.3.1) */
};

extern const struct ipc_rule managed_to_observer[];
extern const struct ipc_rule managed_to_acme[];

/* As ipc_send(). */
MUST_CHECK int managed_send_status(int fd, const struct managed_status *s);
MUST_CHECK int managed_send_account(int fd, const struct managed_account *a);
MUST_CHECK int managed_send_ocsp(int fd, const struct managed_ocsp *o);
MUST_CHECK int managed_send_command(int fd, const struct managed_command *c);

/* ERR_FORMAT. Spans borrow the message. */
MUST_CHECK int managed_read_status(const struct ipc_msg *m, struct managed_status *ret);
MUST_CHECK int managed_read_account(const struct ipc_msg *m, struct managed_account *ret);
MUST_CHECK int managed_read_ocsp(const struct ipc_msg *m, struct managed_ocsp *ret);
MUST_CHECK int managed_read_command(const struct ipc_msg *m, struct managed_command *ret);
