/*
 * What a command was given, read by its row of the table: each flag is one of its own and has its value, and there are as many
 * operands as it takes. "--flag=value" is the same as "--flag value", "-c" is "--config", and behind "--" all are operands.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"

/* Exit statuses of commands. */
enum { EXIT_OK, EXIT_INPUT, EXIT_USAGE, EXIT_NOBODY };

struct command;

struct argument {
    const char *flag;  /* "--json", of the table; NULL = an operand */
    const char *value; /* NULL = the flag takes none */
};

struct arguments {
    const struct command *command;
    struct argument *list; /* in the order in which they were given */
    size_t n, noperands;
};

/* ARGV, of ARGC texts behind the command's name, is borrowed and changed. False after arguments_refuse(), or without memory. */
MUST_CHECK bool arguments_read(struct arguments *ret, const struct command *c, int argc, char **argv);
void arguments_fini(struct arguments *a);

/* The I-th operand; NULL when there are not so many. */
const char *arguments_operand(const struct arguments *a, size_t i);

/* Whether FLAG, which takes no value, was given. */
bool arguments_has(const struct arguments *a, const char *flag);

/* The value that FLAG was given last; NULL when it was not. */
const char *arguments_value(const struct arguments *a, const char *flag);

/* Wrong usage: what is wrong and the command's usage go to stderr. EXIT_USAGE. */
int arguments_refuse(const struct arguments *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
