/*
 * The config role: one request from the supervisor, one answer, and the process ends. It reads and checks what it is asked
 * for, so that the supervisor never parses anything.
 */
#pragma once

#include "conf/load.h"

/* Serves CONTROL_REQUEST on CONTROL_FD. The process' exit status: 0 when it answered, 1 when it could not. */
int config_role_run(int control_fd, const struct conf_capabilities *capabilities);
