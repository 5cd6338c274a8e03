/*
 * A list of networks as a file has it: one address or network a line, "10.0.0.0/8" or "2001:db8::1". What follows a '#' or a
 * ';' is a comment, blanks around are skipped, lines end in LF or CRLF. A line that is anything else is reported and not in
 * force; the others are. Nothing is guessed: host bits behind the prefix are as wrong as letters.
 *
 * IPv4-mapped networks become IPv4, as the addresses of clients do (base/addr.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/grow.h"
#include "base/span.h"
#include "base/text.h"

#define NETLIST_MAX      (4u * 1024 * 1024)   /* networks of one list */
#define NETLIST_FILE_MAX (256u * 1024 * 1024) /* bytes of its file */

/* LINE counts from 1; WHY says what was found and what was expected, printable whatever the line held. */
typedef void (*netlist_bad_fn)(void *ctx, size_t line, const char *why);

struct netlist {
    struct grow nets; /* struct cidr, in the order of the file */
    size_t bad;       /* lines that are not in force */
};

void netlist_init(struct netlist *l);
void netlist_fini(struct netlist *l);

/* Adds what TEXT holds. ERR_LIMIT: more networks than a list may have; ERR_NOMEM. */
MUST_CHECK int netlist_read(struct netlist *l, struct span text, netlist_bad_fn bad, void *ctx);

/* Adds one network. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int netlist_add(struct netlist *l, const struct cidr *net);

/* One address or network. ERR_FORMAT, with the reason in WHY. */
MUST_CHECK int netlist_parse(struct span text, struct cidr *ret, struct text *why);

/* Whether TEXT is meant as an address or a network, right or wrong, rather than as the name of a file. */
bool netlist_is_network(const char *text);
