/*
 * The names that the services of a configuration claim at their addresses, as a table of routes (route/route.h). A service that
 * is given names claims these and no others. Without: one that terminates TLS claims the names of its certificates and, unless
 * it is strict about names, what nobody else claims; passthrough takes what is left then.
 */
#pragma once

#include "conf/conf.h"
#include "route/route.h"

/* Hands every name of the certificates of SERVICE to TAKE, each once or more; the table borrows them. */
typedef void (*routes_names_fn)(void *names, size_t service, void (*take)(void *ctx, const char *name), void *ctx);

/* A routes_names_fn whose names are those of a mapped store (struct creds). */
void routes_creds_names(void *creds, size_t service, void (*take)(void *ctx, const char *name), void *ctx);

/* Borrows C and the names; NULL when out of memory. */
struct route_table *routes_make(const struct conf *c, routes_names_fn each_name, void *names);

/* The protocols by which clients find S: those it demands, else those it speaks itself. */
struct route_protocols routes_protocols(const struct conf_service *s);
