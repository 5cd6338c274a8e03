/*
 * The key log: secrets of the TLS connections of named clients, for a while, in a file that nobody but the user who starts the
 * proxy can read. Three guards, each of which must be given: the file, the clients, the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/text.h"
#include "conf/conf.h"

struct load;
struct reading;
struct toml_node;

#define KEYLOG_AHEAD_MAX_S (UINT64_C(24) * 3600)
#define KEYLOG_FILE_MAX    (UINT64_C(64) << 20) /* bytes; then no more is written */
#define KEYLOG_MODE        0600

/* Whether secrets are to be written at this time. */
bool keylog_is_on(const struct conf_keylog *k, uint64_t wall_us);

/* Whether a file with these properties may be the key log. A sentence in WHY otherwise. */
bool keylog_file_fits(const char *file, const struct stat *st, struct text *why);

/* The [keylog] section. Then where the key log is, and whether that will do: after the environment, which has the state
 * directory. */
void read_keylog(struct reading *r, const struct toml_node *table);
void keylog_settle(struct load *l);
