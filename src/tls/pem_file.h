/*
 * The bytes of a file that the operator named: certificates, keys, responses. Files are outside input: bounded, regular files
 * only, and every way in which they can be wrong is reported in a sentence that names the file and what was found. The bytes
 * lie in memory for keys, since any PEM file may hold one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

#define PEM_FILE_MAX (1024 * 1024) /* bytes of a file */

struct pem_file {
    uint8_t *p;
    size_t len;
    size_t cap;
    mode_t mode; /* permissions */
    uid_t owner;
    uint64_t stamp; /* changes when the file is written or replaced */
};

/* Reads FILE; WANTED: what is expected in it ("a PEM file"). ERR_FORMAT, ERR_SYSTEM or ERR_NOMEM, with a message in WHY. */
MUST_CHECK int pem_file_read(const char *file, const char *wanted, struct pem_file *ret, struct text *why);

/* Opens and closes it: all checks of FILE that need no reading. *RET has no bytes then. */
MUST_CHECK int pem_file_look(const char *file, const char *wanted, struct pem_file *ret, struct text *why);

/* Wipes and frees; harmless on one that was not read. */
void pem_file_fini(struct pem_file *f);

static inline struct span pem_file_span(const struct pem_file *f) {
    return span_of(f->p, f->len);
}
