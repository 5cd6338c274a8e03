/*
 * The supervisor replaces its own code: it execs the binary of the generation that serves, in place, so that its pid and its
 * children stay. First a child of that binary makes a dry run: it reads the state, and only when it answers that it can
 * continue from there, the exec follows. Otherwise the old supervisor stays with the new generation, and logs why.
 */
#pragma once

/* In the environment of the successor: the number of the state's descriptor. */
#define REEXEC_VARIABLE "TLS_OFF_STATE"

struct super;

/* Those of main(), which live as long as the process: what its successor is started with. */
void reexec_arguments(char **argv);

/* Starts the dry run, whose answer is transition.successor_willing; a line in the log says when that fails. */
void reexec_dry_run(struct super *s);

/* Execs. Returns when that fails. */
void reexec_exec(struct super *s);
