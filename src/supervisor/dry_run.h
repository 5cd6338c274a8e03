/* The dry run: a child of the new binary says whether it could continue as the supervisor. */
#pragma once

/* ROLE_SUPERVISOR as a child, which reads the state of the running supervisor. The exit status. */
int supervisor_dry_run(int control_fd);
