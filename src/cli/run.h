/* `tls-off run`: the proxy in the foreground. */
#pragma once

struct arguments;
extern const char run_usage[];

/* The exit status. */
int cmd_run(const struct arguments *a);
