/* `tls-off acme record NAME`: the DNS records that dns-persist-01 wants for a name, and whether they are published. */
#pragma once

#include "base/text.h"
#include "cli/admin_client.h"

/* What a record says of an account (draft-ietf-acme-dns-persist-02; without HASH_PREFIX -01). */
struct acme_record {
    const char *domain;      /* the issuer's */
    const char *account;     /* its URL */
    const char *thumbprint;  /* of its key */
    const char *hash_prefix; /* "" = the account's URL is in the record as it is */
    const char *name;        /* that is validated, without "*." */
    bool wildcard;           /* and all names below it */
};

void acme_record_value(const struct acme_record *r, struct text *to);

/* In the form of a zone file: strings of at most 255 bytes. */
void acme_record_quote(const char *value, struct text *to);

/* The exit status. CHECK: looks the records up, too. */
int acme_record_show(const struct admin_args *a, const char *name, bool check);
