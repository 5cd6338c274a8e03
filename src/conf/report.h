/* What the steps of the loader say of faults, and where: positions and names of keys, absolute file names. */
#pragma once

#include "conf/loader.h"

/* Adds a diagnostic. AT with line 0 gives the file alone, or "command line". */
void load_error(struct load *l, struct toml_pos at, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);
void load_warning(struct load *l, struct toml_pos at, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);

/*
 * "service.NAME.KEY" of a key of service I, or of the command line the flag, NULL when there is none; lives as long as the
 * conf.
 */
const char *load_key(struct load *l, size_t service, enum conf_key key);
const char *load_listener_key(struct load *l, size_t listener, enum conf_key key); /* listener."ADDRESS".KEY */
const char *load_top_key(enum conf_key key);

/* The position of a key of service I: its value, or the service's section when it is not given. */
struct toml_pos load_at(const struct load *l, size_t service, enum conf_key key);
struct toml_pos load_listener_at(const struct load *l, size_t listener, enum conf_key key);
struct toml_pos load_top_at(const struct load *l, enum conf_key key);

/* NAME as an absolute file name (in the conf's arena); NULL when it becomes longer than PATH_MAX. */
const char *load_path(struct load *l, const char *name);
