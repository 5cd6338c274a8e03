/*
 * A tls-off configuration in the making: services with their keys, and what of another program's file was not taken. The
 * readers of the other formats fill it; model_write() writes it as TOML.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/defs.h"
#include "convert/lexer.h"

struct model_service;
struct model_listener;

struct model {
    const char *file; /* that is read, for messages */
    const char *dir;  /* where its relative names start */
    struct model_service *services;
    struct model_service *top; /* keys that belong to no service */
    struct model_note *notes, **notes_end;
    struct model_string *strings;
    unsigned nservices;
    unsigned lost; /* lines whose loss changes who may connect, or where to */
};

void model_init(struct model *m, const char *file, const char *dir);
void model_fini(struct model *m);

/* Text that lives as long as the model. */
const char *model_text(struct model *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* NAME as a file: relative ones start in the directory of the file that is read. */
const char *model_path(struct model *m, const char *name);
/* "HOST:PORT", "[IPv6]:PORT" or ":PORT" from its parts; HOST of "", "*" or NULL is every address. */
const char *model_address(struct model *m, const char *host, const char *port);
/* The same as a backend, or "unix:PATH" for what begins with '/'. */
const char *model_backend(struct model *m, const char *host, const char *port);

/* A line that was not taken. LOST: without it something else happens; else it has no meaning here, and WHY says so. */
enum model_loss { MODEL_NOT_NEEDED, MODEL_LOST };
void model_note(struct model *m, enum model_loss loss, unsigned line, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A line of N words that is lost; WHY may be NULL. */
void model_lose(struct model *m, const struct lexer_word *words, size_t n, const char *why);

/* A service of that name, or of one like it that is allowed and new. */
struct model_service *model_add_service(struct model *m, const char *name);
struct model_service *model_top(struct model *m);
/* The keys of a listener, by its address. */
struct model_service *model_listener(struct model *m, const char *address);
/* TO gets what it lacks of FROM's keys, but for KEY outside of tables. */
void model_inherit(struct model_service *to, const struct model_service *from, const char *key);
bool model_has_keys(const struct model_service *s);
/* It is not written. */
void model_clear(struct model *m, struct model_service *s);

/* TABLE: "" or "timeouts", say. The last value counts. */
void model_set(struct model *m, struct model_service *s, const char *table, const char *key, const char *text);
void model_set_raw(struct model *m, struct model_service *s, const char *table, const char *key, const char *toml);
/* A number without sign; anything else is noted as lost. */
void model_set_number(struct model *m, struct model_service *s, unsigned line, const char *table, const char *key,
                      const char *text);
/* Adds to a list; each value once. */
void model_add(struct model *m, struct model_service *s, const char *table, const char *key, const char *text);
/* KEY NULL: CERT is a directory, a pattern or a file with its key. */
void model_add_cert(struct model *m, struct model_service *s, const char *cert, const char *key, const char *passphrase);
bool model_has(const struct model_service *s, const char *table, const char *key);
void model_unset(struct model_service *s, const char *table, const char *key);
void model_unset_table(struct model_service *s, const char *table);

/* OpenSSL's words: a list of cipher suites apart by ':' or blanks, groups, and the lowest version. What has no counterpart is
 * noted. */
void model_suites(struct model *m, struct model_service *s, unsigned line, const char *list12, const char *list13);
void model_groups(struct model *m, struct model_service *s, unsigned line, const char *list);
void model_min_version(struct model *m, struct model_service *s, unsigned line, const char *version);
/* A number of seconds, or a number with a unit ("5m", "30s", "250ms", "1d"), as a duration; "none" for 0. PLAIN: the unit of a
 * number without one. NULL when TEXT is none. */
const char *model_duration(struct model *m, const char *text, const char *plain);

/* The file, with what was not taken as comments at its head. */
void model_write(const struct model *m, FILE *to);
/* One line for each note: "FILE:LINE: ...". */
void model_write_notes(const struct model *m, FILE *to);
