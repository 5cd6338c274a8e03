/* Notifications to the service manager, if one has set NOTIFY_SOCKET: sd_notify(3). */
#pragma once

#include <stdint.h>

struct wr;
struct rd;

void notify_init(void);

/* What was read from the environment, for the state: one of the two is NULL. */
void notify_value(struct wr *w, struct rd *r);

/* Its watchdog interval; 0 = none. */
uint64_t notify_watchdog_usec(void);

/*
 * Belongs to each STOPPING=1 and RELOADING=1, and is repeated while that goes on: the manager's own limit, which does not know
 * ours, counts only once nothing has been received for this time.
 */
#define NOTIFY_EXTEND "EXTEND_TIMEOUT_USEC=30000000"

/* STATE as in sd_notify(3), "READY=1". */
void notify(const char *state);
