/*
 * What is read again when its files change and needs nobody's consent, other than credentials do (supervisor/creds_reload.h):
 * access lists and ticket secrets. The config role reads the files, and the roles that use what was read are sent it. What
 * cannot be read is logged and tried again after a growing pause; what was in use stays.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/wheel.h"

#define REFRESH_RETRY_MIN_MS 5000 /* of what is refused, certificates included, */
#define REFRESH_RETRY_MAX_MS 300000

struct super;
struct worker;

enum refresh_kind { REFRESH_ACCESS, REFRESH_SECRETS, REFRESH_KINDS };

struct refresh {
    bool reading;           /* the config role does */
    uint64_t signature;     /* of the files as they were last checked */
    uint32_t retry_ms;      /* the last pause before another try; 0 = none is needed */
    struct wtimer deadline; /* of the reading */
    struct wtimer retry;
};

/*
 * A generation serves: READ_S is when its files began to be read, seconds since 1970. False when some may have been written
 * meanwhile: the caller looks again soon.
 */
MUST_CHECK bool refresh_serve(struct super *s, uint64_t read_s);

/* The files may have changed. False when it is too early to look: the caller asks again. */
MUST_CHECK bool refresh_look(struct super *s);

/* A transition or the stop begins: what is being read is dropped. */
void refresh_cancel(struct super *s);

/* Sets up the timers above; once, before anything else. */
void refresh_timers(struct super *s);
