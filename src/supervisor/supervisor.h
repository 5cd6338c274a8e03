/*
 * The supervisor role: starts all other processes, keeps the listening sockets and shared pages, restarts what dies, and stops
 * everything in order. It never reads a peer's bytes, TOML or a private key.
 */
#pragma once

#include "wire/control.h"

/* Runs the proxy in the foreground; returns the exit status. READY_FD: gets one newline once every role serves; -1 = none. */
int supervisor_run(const struct control_request *what, int ready_fd);

/*
 * main() calls this first. Keeps ARGV for a re-exec of the supervisor; in a process started by one, continues and returns the
 * exit status. -1 otherwise.
 */
int supervisor_resume(char **argv);
