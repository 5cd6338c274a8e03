/* `tls-off version`: what this binary is made of, for bug reports. */
#pragma once

/* ARGV[0] is "version". Returns the exit status. */
int cmd_version(int argc, char **argv);
