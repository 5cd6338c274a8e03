/*
 * A tls-off configuration in the making: services with their keys, and what of another program's file was not taken. The
 * readers of the other formats fill it; model_write() writes it as TOML.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/defs.h"
#include "convert/lexer.h"

struct model_service;
struct model_listener;

struct model {
    const char *file; /* that is read, for messages */
    const char *dir;  /* where its relative names start */
    struct model_service *services;
    struct model_service *top;            /* keys that belong to no service */
    struct model_note *notes, *last_note; /* by line; the newest */
    struct model_string *strings;
    struct named_file *named_files; /* files beside FILE, see named_file.h */
    unsigned nnamed_files;
    unsigned nservices; /* that are written, see model_finish() */
    unsigned lost;      /* lines whose loss changes who may connect, or where to */
};

void model_init(struct model *m, const char *file, const char *dir);
void model_fini(struct model *m);

/* Text that lives as long as the model. */
const char *model_text(struct model *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* NAME as a file: relative ones start in the directory of the file that is read. */
const char *model_path(struct model *m, const char *name);
/* A line that was not taken. LOST: without it something else happens; else it has no meaning here, and WHY says so. */
enum model_loss { MODEL_NOT_NEEDED, MODEL_LOST };
void model_note(struct model *m, enum model_loss loss, unsigned line, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A line of N words that is lost; WHY may be NULL. */
void model_lose(struct model *m, const struct lexer_word *words, size_t n, const char *why);

/* A service of that name, or of one like it that is allowed and new; LINE is where it begins. */
struct model_service *model_add_service(struct model *m, const char *name, unsigned line);
struct model_service *model_top(struct model *m);
/* How many values the key has. */
size_t model_count(const struct model_service *s, const char *table, const char *key);
/* The keys of a listener, by its address. */
struct model_service *model_listener(struct model *m, const char *address);
/* TO gets what it lacks of FROM's keys, but for KEY outside of tables, and FROM's lost guard. */
void model_inherit(struct model_service *to, const struct model_service *from, const char *key);
bool model_has_keys(const struct model_service *s);
/* Line LINE, which is noted elsewhere and keeps clients out, is lost: S is omitted as a whole, and those that inherit from it.
 */
void model_guard_lost(struct model_service *s, unsigned line);
/* S keeps clients out: by its access rules, its clients' certificates, or a line that is lost. */
bool model_keeps_out(const struct model_service *s);
/* S stands for clients that are refused, by line LINE: it is not written, and no other service gets its names. */
void model_refuse(struct model_service *s, unsigned line);
/* Nothing of it is left: it stands for nobody. */
void model_clear(struct model_service *s);
/* Line LINE, which is noted elsewhere, is why S cannot be written. Others do not get its addresses and names. */
void model_drop(struct model_service *s, unsigned line);
/* A name of S, noted elsewhere, cannot be said. Without another one S is dropped; when S keeps clients out, nobody who would
 * get them is written. */
void model_lose_name(struct model_service *s, unsigned line);
bool model_loses_name(const struct model_service *s);

/* TABLE: "" or "timeouts", say. The last value counts. */
void model_set(struct model *m, struct model_service *s, const char *table, const char *key, const char *text);
void model_set_raw(struct model *m, struct model_service *s, const char *table, const char *key, const char *toml);
/* A number without sign, of at most MOST; anything else is noted as lost. */
void model_set_number(struct model *m, struct model_service *s, unsigned line, const char *table, const char *key,
                      const char *text, uint64_t most);
/* Whether clients are asked for certificates: "none", "optional" or "required". Another word is noted, and S loses a guard. */
void model_set_verify(struct model *m, struct model_service *s, unsigned line, const char *word);
/* Adds to a list; each value once. */
void model_add(struct model *m, struct model_service *s, const char *table, const char *key, const char *text);
/* KEY NULL: CERT is a directory, a pattern or a file with its key. */
void model_add_cert(struct model *m, struct model_service *s, const char *cert, const char *key, const char *passphrase);
/* What is in DIR and is called like GLOB (NULL = anything), but for files that end like one of BESIDE (to NULL; may be NULL):
 * as a directory or pattern, when what it stands for are the same files, else one by one, with a note. */
void model_add_cert_dir(struct model *m, struct model_service *s, unsigned line, const char *dir, const char *glob,
                        const char *const *beside);
bool model_has(const struct model_service *s, const char *table, const char *key);
void model_unset(struct model_service *s, const char *table, const char *key);
void model_unset_table(struct model_service *s, const char *table);

/* ---- values ---- */

/* The host of "HOST:PORT", "[IPv6]:PORT" or "IPv6:PORT", without brackets; *RET_PORT is NULL when there is none. */
const char *model_split(struct model *m, const char *address, const char **ret_port);

/* Whom to become, of those that are users of this machine. */
void model_set_user(struct model *m, unsigned line, const char *name);
/* Where to log, when its directory is there. */
void model_set_log_file(struct model *m, unsigned line, const char *path);
#define MODEL_WORKERS_MAX 64
#define MODEL_DEPTH_MAX   16
/* Of a service. */
#define MODEL_BACKENDS_MAX 64
#define MODEL_NAMES_MAX    1022 /* beside every name, and none */

/* What a listening socket may have beside its address; NULL = nothing. */
struct model_socket {
    const char *backlog, *device;
};

/* An address to listen at. HOST: an address or "localhost"; NULL = all of both families. PORT: a number, a name of
 * /etc/services, or a range. HOW may be NULL. False after a note. */
bool model_listen(struct model *m, struct model_service *s, unsigned line, const char *host, const char *port,
                  const struct model_socket *how);
/* An address of PORT that is lost by line LINE, and noted elsewhere: who serves every address of the machine would get its
 * clients. */
void model_drop_address(struct model *m, unsigned line, const char *port);
/* "/PATH" or "@NAME", to listen at. */
void model_listen_unix(struct model *m, struct model_service *s, unsigned line, const char *path);
/* HOST: an address, a host name, "/PATH" or "@NAME"; NULL, "" and every address = this machine. */
void model_add_backend(struct model *m, struct model_service *s, unsigned line, const char *host, const char *port);
/* A name that clients ask for; "*.x", "**.x", "*" and "" as in our configuration. False after a note. */
bool model_add_name(struct model *m, struct model_service *s, unsigned line, const char *name);
/* Whether it is one for model_add_name(), but for "*". */
bool model_is_name(const char *name);
/* Every name, and none. */
void model_add_any_name(struct model *m, struct model_service *s);

/* OpenSSL's words: a list of cipher suites apart by ':' or blanks, groups, and the lowest version. What has no counterpart is
 * noted. */
void model_suites(struct model *m, struct model_service *s, unsigned line, const char *list12, const char *list13);
void model_groups(struct model *m, struct model_service *s, unsigned line, const char *list);
void model_min_version(struct model *m, struct model_service *s, unsigned line, const char *version);
/* A number of seconds, or numbers with units ("5m", "250ms", "1d", "1h 30m"), as a duration; "none" for 0. PLAIN: the unit of
 * a number without one. NULL when TEXT is none. */
const char *model_duration(struct model *m, const char *text, const char *plain);

/* When all is read: services that cannot serve, or would let in clients that their origin refuses, are omitted with a note, as
 * are those that would get the names of such a one. Addresses do not overlap. */
void model_finish(struct model *m);

/* The file, with what was not taken as comments at its head. */
void model_write(const struct model *m, FILE *to);
/* One line for each note: "FILE:LINE: ...". */
void model_write_notes(const struct model *m, FILE *to);
