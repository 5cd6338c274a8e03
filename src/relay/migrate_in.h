/* The importer: live sessions from another relay (wire/export_link.h). What they are meanwhile: migrate_out.h. */
#pragma once

#include <stdint.h>

struct relay;
struct wtimer;

/* Takes sessions from LINK (owned from here on). */
void migrate_in_begin(struct relay *r, int link);

/* Ends all imports: what was not acknowledged is dropped. */
void migrate_in_end_all(struct relay *r);
void migrate_in_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void migrate_in_liveness_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void migrate_in_timer(void *ctx, struct wtimer *t);
