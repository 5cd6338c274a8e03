/* `tls-off init`: a first configuration for what this machine has. */
#pragma once

struct arguments;
extern const char init_usage[];

/* The exit status: 0 written, 1 not written. */
int cmd_init(const struct arguments *a);
