/* `tls-off check config.toml`: what is wrong with a configuration, without starting anything. */
#pragma once

struct arguments;
extern const char check_usage[];

/* The exit status: 0 valid, 1 the configuration is wrong. */
int cmd_check(const struct arguments *a);
