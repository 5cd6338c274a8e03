/*
 * The files of certificates that a configuration names, read into the credential store: at the start together with the rest of
 * the configuration (check_files.c), later for themselves, from the configuration that runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/load.h"

/*
 * The caller knows the position of entry K of service I's certificates; K may also be one of the files of client
 * authentication.
 */
#define CONF_CREDS_CA  (SIZE_MAX - 1)
#define CONF_CREDS_CRL (SIZE_MAX - 2)
typedef void (*conf_creds_fn)(void *ctx, size_t service, size_t k, bool is_error, const char *text);

/* Service I, the next in order: all that its keys name. SKIP: without its certificates. */
void conf_creds_service(const struct conf *c, size_t i, bool skip, const struct conf_capabilities *capabilities,
                        conf_creds_fn report, void *ctx);

/* All services of a running configuration; diagnostics are named by their keys. True when there was no error. */
bool conf_creds_load(const struct conf *c, const struct conf_capabilities *capabilities, struct diagnostics *f);
