/*
 * Making an access table (access/access.h): what the config role has read is gathered and sealed. Everything given is copied or
 * taken over.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "access/access.h"
#include "access/netlist.h"
#include "base/defs.h"

struct access_writer;

struct access_writer *access_writer_new(void); /* NULL when out of memory */
void access_writer_free(struct access_writer *w);

/* The next service, in the order of conf.services. ERR_NOMEM, ERR_LIMIT throughout. */
MUST_CHECK int access_add_service(struct access_writer *w);

/* The number of the list of that file, or ACCESS_NONE: a file that several services name is there once. */
uint32_t access_find_list(const struct access_writer *w, const char *file);

/* A list of NETS, which are sorted; NETWORKS, BAD, FAILING_S and STAMP of L are what access_list() will say. */
MUST_CHECK int access_add_list(struct access_writer *w, const struct access_list *l, struct netlist *nets, uint32_t *ret);

/* A list as another table has it. OLD must stay until the seal. */
MUST_CHECK int access_keep_list(struct access_writer *w, const struct access_list *l, const struct access *old, uint32_t list,
                                uint32_t *ret);

/* The last service has that list. ERR_LIMIT beyond ACCESS_LISTS_MAX. */
MUST_CHECK int access_use_list(struct access_writer *w, uint32_t list, bool is_deny);

/* Writes the table into a sealed memfd. ERR_LIMIT, ERR_SYSTEM (errno). */
MUST_CHECK int access_seal(struct access_writer *w, int *ret_fd);
