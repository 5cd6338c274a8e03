/* `tls-off reload`, `tls-off drain`, `tls-off stop`. Each returns the exit status. */
#pragma once

int cmd_reload(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_stop(int argc, char **argv);
