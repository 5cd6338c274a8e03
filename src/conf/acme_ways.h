/* How validators of certificates come. */
#pragma once

#include <stdbool.h>

struct load;
struct reading;
struct toml_node;

/* Services for validators. WANTED: some service has certificates from issuers. */
void acme_ways(struct load *l, bool wanted);
void read_acme_tls(struct reading *r, const struct toml_node *node);
void read_acme_http(struct reading *r, const struct toml_node *node);
