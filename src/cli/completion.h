/* `tls-off completion SHELL`: what a shell reads to complete our commands, flags and their values, made from the table. */
#pragma once

/* The exit status: 0 printed, 2 wrong usage. */
int cmd_completion(int argc, char **argv);
