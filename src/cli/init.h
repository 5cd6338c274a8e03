/* `tls-off init`: a first configuration for what this machine has. */
#pragma once

/* The exit status: 0 written, 1 not written, 2 wrong usage. */
int cmd_init(int argc, char **argv);
