/* `tls-off completion SHELL`: what a shell reads to complete our commands, flags and their values, made from the table. */
#pragma once

struct arguments;
extern const char completion_usage[];

/* The exit status: 0 printed. */
int cmd_completion(const struct arguments *a);
