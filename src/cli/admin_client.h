/*
 * What the commands that connect to a running tls-off share: their flags, its socket, its answers, and how errors are reported.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/defs.h"
#include "cli/arguments.h"
#include "conf/conf.h"

struct admin_args {
    char path[CONF_SOCKET_PATH_MAX + 1];
    bool json;
};

/* Takes a flag of the command's own. NULL, or what was expected as its value. */
typedef const char *(*admin_flag_fn)(void *ctx, const char *flag, const char *value);

/* --admin PATH and --json; all others are FLAG's. False after arguments_refuse(). */
MUST_CHECK bool admin_args_read(const struct arguments *a, admin_flag_fn flag, void *ctx, struct admin_args *ret);

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
