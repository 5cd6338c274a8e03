/* `tls-off run`: the proxy in the foreground. */
#pragma once

/* ARGV[0] is "run", or the configuration file itself. Returns the exit status. */
int cmd_run(int argc, char **argv);
