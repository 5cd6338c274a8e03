/* Certificates from issuers: what the configuration says about them: see acme_ways.h for how validators come, acme_files.h for
 * their files. */
#pragma once

#include "conf/loader.h"

struct reading;

/* After all keys are read and the state directory is known: certificates of services, and the way of validators. */
void acme_settle(struct load *l);

/* Where KEY of an issuer stands, or its section without it. */
struct origin acme_origin(struct load *l, const struct conf_issuer *issuer, const char *key);

void read_issuers(struct reading *r, const struct toml_node *table);
void read_service_acme(struct reading *r, const struct toml_node *node);
