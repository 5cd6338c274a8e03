/*
 * The resolver role: turns the host names of backends into addresses, so that no relay ever waits for a name server.
 * Present only when some backend is a host name.
 */
#pragma once

/* Serves until it is asked to stop; returns the process' exit status. CONTROL_FD is the socket to the supervisor. */
int resolver_run(int control_fd);
