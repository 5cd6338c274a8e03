/* `tls-off convert FORMAT FILE`: a configuration of another proxy as one of ours. */
#pragma once

/* The exit status: 0 all was taken, 1 something was not or the file cannot be read, 2 wrong usage. */
int cmd_convert(int argc, char **argv);
