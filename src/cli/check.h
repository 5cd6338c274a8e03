/* `tls-off check config.toml`: what is wrong with a configuration, without starting anything. */
#pragma once

/* ARGV[0] is "check". The exit status: 0 valid, 1 the configuration is wrong, 2 wrong usage. */
int cmd_check(int argc, char **argv);
