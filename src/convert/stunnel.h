/* What the reader of stunnel.conf shares: sections, and their options. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "convert/model.h"

/* Options that ask more of clients than there is here; a later line of the same may take it back. */
enum stunnel_loss {
    STUNNEL_LIBWRAP,
    STUNNEL_IDENT,
    STUNNEL_CERTIFICATES, /* those from here on count where certificates are verified */
    STUNNEL_ONE_BY_ONE = STUNNEL_CERTIFICATES,
    STUNNEL_CHECK,
    STUNNEL_CRL_PATH,
    STUNNEL_OCSP,
    STUNNEL_OCSP_AIA,
    STUNNEL_LOSSES
};

/* What is looked at together when a section ends. */
struct stunnel_section {
    const char *name; /* NULL: the global part, whose keys are defaults */
    struct model_service *s;
    unsigned line;
    const char *master; /* the service whose addresses this one shares */
    const char *device; /* that its addresses are bound to */
    const char *cert, *key;
    const char *ciphers, *suites;
    const char *verify;            /* "required", "optional"; NULL = none; when the section ends */
    bool chain, peer, require;     /* certificates are verified; by themselves; clients have to have one */
    unsigned require_line;         /* that says so last */
    unsigned lost[STUNNEL_LOSSES]; /* the last line that says so much more of clients than there is here; 0 = none */
    bool is_client, has_connect, has_psk;
    bool is_any, is_master, any_is_taken; /* its "sni" is "*"; that of others names it, and one of them is "*" */
};

struct stunnel_directory {
    const struct stunnel_directory *outer; /* whose file includes it */
    const char *path;
};

struct stunnel {
    struct model *m;
    struct stunnel_section defaults, now;
    struct stunnel_section *done; /* sections that became services, for "sni" */
    size_t ndone;
    const struct stunnel_directory *reads; /* that is included now; NULL = none */
    unsigned nincluded;
    bool is_endless; /* a directory includes itself, or there is too much */
};

/* "NAME = V", in the section S or the global part. */
void stunnel_take_option(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line);
