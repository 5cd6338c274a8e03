/* The relay role: owns established sessions, moves their bytes between client and backend, and ends them truthfully. */
#pragma once

/* Serves until told to stop; returns the process' exit status. CONTROL is the socket to the supervisor. */
int relay_run(int control);
