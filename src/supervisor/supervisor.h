/*
 * The supervisor role: starts all other processes, keeps the listening sockets and shared pages, restarts what dies, and stops
 * everything in order. It never reads an outsider's bytes, TOML or a private key.
 */
#pragma once

#include "wire/control.h"

/* Runs the proxy in the foreground; returns the exit status. READY_FD: gets one newline once every role serves; -1 = none. */
int supervisor_run(const struct control_request *what, int ready_fd);

/* Runs on from the state in STATE_FD: the process was begun by its predecessor's exec. The exit status. */
int supervisor_run_on(int state_fd);

/*
 * What main() calls first. Keeps ARGV for the time when the supervisor takes up new code; when this process is begun by that,
 * runs on, and returns the exit status. -1 otherwise.
 */
int supervisor_resume(char **argv);

/* ROLE_SUPERVISOR as a child: looks whether the state of the running supervisor could be taken over. The exit status. */
int supervisor_dry_run(int control_fd);
