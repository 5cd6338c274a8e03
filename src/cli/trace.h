/* `tls-off trace`: the events of one client, live. Returns the exit status. */
#pragma once

struct arguments;
extern const char trace_usage[];
int cmd_trace(const struct arguments *a);
