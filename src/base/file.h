/*
 * Regular files that others can change: opened without waiting for anybody, read to their end within a bound. Each way in
 * which they can be wrong is reported in a sentence that names the file, what was found and what was expected.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

/* A file as it was opened, and what was expected of it. */
struct file {
    const char *path;
    const char *expected; /* "a PEM file" */
    size_t max;           /* bytes */
    int fd;
    struct stat st;
};

/* Follows links; takes regular files of at most F->max bytes only. ERR_SYSTEM or ERR_FORMAT, with the reason in WHY. */
MUST_CHECK int file_open(struct file *f, struct text *why);

/* The same for a descriptor that somebody else has opened, F->fd; it stays open whatever comes back. */
MUST_CHECK int file_check(struct file *f, struct text *why);

/* Room for all of it, and one byte more, which shows that it has grown since. */
static inline size_t file_room(const struct file *f) {
    return (size_t)f->st.st_size + 1;
}

/*
 * All of F, from its start, into the file_room() bytes at TO. ERR_SYSTEM, ERR_FORMAT where the file is empty or has changed
 * since it was opened, ERR_NOMEM where TO is NULL; with the reason in WHY.
 */
MUST_CHECK int file_read(const struct file *f, uint8_t *to, size_t *ret_len, struct text *why);

void file_close(struct file *f);

/* Reads on from where FD stands, to the end or until CAP bytes are there, whatever FD is. Their number, or -1 (errno). */
ssize_t fd_read_all(int fd, void *to, size_t cap);

/*
 * The same of the file that a user has named, which may be whatever can be read. INPUT_STDIN is descriptor 0, which need have
 * no name that opens: it may be a socket, or somebody else's pipe.
 */
#define INPUT_STDIN "-"
ssize_t input_read_all(const char *name, void *to, size_t cap);

/* What the file at PATH begins with, CAP bytes at most, in TO; empty where there is none, it is a link or cannot be read. */
struct span file_read_own(const char *path, void *to, size_t cap);

/* Writes all of BYTES. ERR_SYSTEM (errno). */
MUST_CHECK int fd_write_all(int fd, struct span bytes);
