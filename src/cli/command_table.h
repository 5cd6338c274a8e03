/* The commands: one row each, from which the list in `tls-off --help` and the shells' completions are made. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/arguments.h"

/* What follows a flag. */
enum flag_value { FLAG_ALONE, FLAG_TEXT, FLAG_PATH };

struct command_flag {
    const char *name; /* "--sort"; NULL ends a list */
    enum flag_value value;
    const char *words; /* its values, apart by blanks; NULL = any */
};

enum command_group { COMMANDS_PROXY, COMMANDS_CONFIG, COMMANDS_CONTROL, COMMANDS_VIEW, COMMANDS_CERTIFICATES, COMMAND_GROUPS };

/* What is no flag. */
struct command_operands {
    unsigned least, most;
    const char *name;  /* of the last that there has to be */
    const char *words; /* the first one is one of these; NULL = any */
    bool files;        /* they name files */
};

struct command {
    const char *name;
    enum command_group group;
    int (*run)(const struct arguments *a); /* the exit status */
    const char *help, *usage;
    const struct command_operands *operands;
    const struct command_flag *flags;
};

extern const struct command commands[];
extern const size_t commands_len;

/* NULL when there is none of that name. */
const struct command *command_by_name(const char *name);

/* The commands by groups. */
void commands_usage(FILE *to);
