/* `tls-off version`: what this binary is made of, for bug reports. */
#pragma once

struct arguments;
extern const char version_usage[];

/* The exit status. */
int cmd_version(const struct arguments *a);
