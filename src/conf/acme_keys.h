/* Certificates from issuers: what the configuration says about them (acme_keys.c), how
 * validators come (acme_ways.c), and their files (acme_files.c).
 */
#pragma once

#include "conf/loader.h"

/* After all keys are read and the state directory is known: certificates of services, and the way of validators. */
void acme_settle(struct load *l);

/* Where KEY of an issuer stands, or its section without it. */
struct origin acme_origin(struct load *l, const struct conf_issuer *issuer, const char *key);

/* acme_ways.c: services for validators. WANTED: some service has certificates from issuers. */
void acme_ways(struct load *l, bool wanted);

/* acme_files.c: the path of a file of theirs; "" where that is too long. */
const char *acme_file_below(struct load *l, const char *dir, const char *name);

/* Directories below the state directory, and a self-signed certificate in the place of each one that is not there yet. */
void acme_files(struct load *l);
