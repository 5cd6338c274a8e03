/* The relay role: owns established sessions, relays their bytes between client and backend, and passes on each end and each
 * reset as it came. */
#pragma once

/* Serves until it is asked to stop; returns the process' exit status. CONTROL is the socket to the supervisor. */
int relay_run(int control);
