/* The service manager is told when the proxy serves and when it stops (sd_notify(3)); without NOTIFY_SOCKET nothing happens. */
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "supervisor/super.h"

void notify(const char *state) {
#ifdef HAVE_SYSTEMD
    (void)sd_notify(0, state); /* a manager that does not listen is no reason to stop */
#else
    (void)state;
#endif
}
