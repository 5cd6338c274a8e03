/*
 * The services of a relay: those of its configuration, and inherited ones: what a session that came from another relay needs of
 * a service or backend that this configuration does not have (any more). An inherited service lives as long as its sessions; no
 * new session is given to it.
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "wire/export.h"

struct relay;

#define SERVICES_NONE          UINT16_MAX
#define SERVICES_INHERITED_MAX 4096 /* at a time */

/* Those of the configuration. False when out of memory. */
MUST_CHECK bool services_make(struct relay *r);

/* The service of that name in the configuration; SERVICES_NONE. */
uint16_t services_find(const struct relay *r, struct span name);

/* The backend of that text among a service's; BACKEND_NONE. */
uint16_t services_backend(const struct relay *r, uint16_t service, struct span text);

/*
 * A service for a session that came as X and finds no backend of its own here: as the configuration has it when there is one of
 * that name, otherwise as in X; its one backend is X's. Counts the session on it: services_leave(). SERVICES_NONE when out of
 * memory.
 */
uint16_t services_inherit(struct relay *r, const struct export_session *x);

/* A session of this service is freed. Does nothing for services of the configuration. */
void services_leave(struct relay *r, uint16_t service);

/* The service of its sessions on the scoreboard: an index of the configuration, or SERVICES_NONE. */
uint16_t services_counted_as(const struct relay *r, uint16_t service);
