/*
 * What the commands that connect to a running tls-off share: their flags, its socket, its answers, and how errors are reported.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/defs.h"
#include "conf/conf.h"

enum { EXIT_OK, EXIT_INPUT, EXIT_USAGE, EXIT_NOBODY };

struct admin_args {
    char path[CONF_SOCKET_PATH_MAX + 1];
    bool json;
    bool help;
};

/* A command's own flag: false when it is none of its own; a wrong value sets *RET_WRONG. VALUE may be NULL. */
typedef bool (*admin_flag_fn)(void *ctx, const char *flag, const char *value, bool *ret_wrong);

/*
 * --admin PATH, --json, --help and the command's own flags (which take one value each, but for names in SWITCHES, a list ended
 * by NULL). False after a line on stderr: wrong usage. USAGE is printed for --help, on stdout, and *A says so.
 */
MUST_CHECK bool admin_args_read(int argc, char **argv, const char *usage, const char *const *switches, admin_flag_fn flag,
                                void *ctx, struct admin_args *a);

/* Parsed JSON of a 2xx answer; on failure NULL, the exit status in *RET_EXIT, and the error on stderr. */
json_t *admin_ask(const struct admin_args *a, const char *method, const char *target, int *ret_exit);

/* As an exit status, with a line on stderr: what http_ask() failed with. */
int admin_unreachable(const struct admin_args *a, int err);

/* The tree on one line. The exit status. */
int admin_print_json(const json_t *tree);

/* A head and a text: a single line follows the head, several go below it, each indented by two blanks. */
void admin_print_lines(FILE *to, const char *head, const char *text);

/* Members, with a default for missing ones. */
double admin_number(const json_t *o, const char *name);
const char *admin_text(const json_t *o, const char *name);

/* Failed handshakes of all reasons, of the member "handshakes" of the whole or of a service. */
double admin_failed(const json_t *handshakes);

/* "?a=b" with VALUE made safe for a URL; added to TARGET, whose first parameter begins with '?'. */
struct text;
void admin_add_query(struct text *target, const char *name, const char *value);
