/* `tls-off reload`, `tls-off drain`, `tls-off stop`. Each returns the exit status. */
#pragma once

struct arguments;
extern const char reload_usage[];
int cmd_reload(const struct arguments *a);
extern const char drain_usage[];
int cmd_drain(const struct arguments *a);
extern const char stop_usage[];
int cmd_stop(const struct arguments *a);
