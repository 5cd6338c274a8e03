/*
 * From TOML (or the two flags of the shortest use) to a checked struct conf. Runs in the config role and in `tls-off check`
 * only. Everything wrong is reported at once, each fault as one line:
 *
 *   config.toml:12:9: service.web.balance: found "fastest", expected "least-sessions", "round-robin" or "client-hash"
 */
#pragma once

#include "base/defs.h"
#include "conf/conf.h"

/* Faults found, as lines of text. ERRORS stop a start, WARNINGS do not. Bounded; further faults are counted. */
struct faults {
    char *text; /* all lines, each ended by '\n' */
    size_t len, cap;
    unsigned errors, warnings, dropped;
};

void faults_init(struct faults *f);
void faults_fini(struct faults *f);

/* Adds one line. POSITION: "file:line:column" or "file", KEY may be NULL. */
void faults_add(struct faults *f, bool is_error, const char *position, const char *key, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Reads and checks FILE, all that it names included. NULL when there were errors; the faults say which. */
struct conf *conf_load_file(const char *file, struct faults *f);

/* The shortest use: one service "default" from addresses to listen on and backends; a self-made certificate is kept in the
 * state folder. */
struct conf *conf_load_flags(const char *const *listen, size_t nlisten, const char *const *backend, size_t nbackend,
                             struct faults *f);
