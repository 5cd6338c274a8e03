/*
 * The table of all keys: one row a key, with its path, type, reader and target. What is not in the table is an unknown key.
 */
#pragma once

#include "conf/loader.h"
#include "conf/values.h"

struct key_row;

/* One value being read. */
struct reading {
    struct load *l;
    const struct key_row *row;
    const char *key;              /* for diagnostics */
    struct conf_service *service; /* NULL outside services */
    struct service_origin *origin;
    void *base; /* the conf, the service or the listener */
};

/* Reads NODE, whose kind is right, into where the row says, or adds diagnostics. */
typedef void (*key_read_fn)(struct reading *r, const struct toml_node *node);

struct key_type {
    enum toml_kind kind, or_kind; /* what may be in the file; mostly the same */
    bool is_text;                 /* stored as a const char *, else as a number of any size */
    key_read_fn read;
    bool (*fits)(const struct key_row *row, uint64_t v); /* of a number; NULL = by its bounds */
};

/* See key_table.h. */
struct key_row {
    const char *path;
    const struct key_type *type;
    size_t offset, size; /* of the value in its struct; 0 = not stored by the table */
    const struct word *words;
    uint64_t number, min, max;
    const char *text;
    bool must_understand;
};

extern const struct key_row key_rows[KEY_COUNT];

/* What a row's path begins with: "service.*", "listener.*", or "" for keys outside of both. */
const char *key_scope(const struct key_row *row);

/* "found ..., expected ...": the fault of one value. */
void reading_refuse(struct reading *r, const struct toml_node *node, const char *expected_fmt, ...) PRINTF_LIKE(3, 4);

/* lists.c */
/* Addresses to listen on, as indices in conf.listeners. */
void read_addresses(struct reading *r, const struct toml_node *node, uint16_t **ret, size_t *ret_n);
void read_listen(struct reading *r, const struct toml_node *node);
void read_backends(struct reading *r, const struct toml_node *node);
void read_certificates(struct reading *r, const struct toml_node *node);
void read_names(struct reading *r, const struct toml_node *node);
void read_match_alpn(struct reading *r, const struct toml_node *node);
void read_alpn(struct reading *r, const struct toml_node *node);
void read_suites(struct reading *r, const struct toml_node *node);
void read_groups(struct reading *r, const struct toml_node *node);
void read_tlvs(struct reading *r, const struct toml_node *node);
void read_secret_file(struct reading *r, const struct toml_node *node);
void read_secret_files(struct reading *r, const struct toml_node *node);
void read_access_allow(struct reading *r, const struct toml_node *node);
void read_access_deny(struct reading *r, const struct toml_node *node);
void read_deny_ja4(struct reading *r, const struct toml_node *node);
void read_client_allow(struct reading *r, const struct toml_node *node);
void read_trust(struct reading *r, const struct toml_node *node);

/* store_keys.c */
void read_acme_state(struct reading *r, const struct toml_node *node);

/* acme_keys.c */
void read_issuers(struct reading *r, const struct toml_node *table);
void read_service_acme(struct reading *r, const struct toml_node *node);

/* acme_ways.c */
void read_acme_tls(struct reading *r, const struct toml_node *node);
void read_acme_http(struct reading *r, const struct toml_node *node);

/* keylog.c */
void read_keylog(struct reading *r, const struct toml_node *table);

/* admin_keys.c */
void read_admin_socket(struct reading *r, const struct toml_node *node);
void read_socket_mode(struct reading *r, const struct toml_node *node);
void read_socket_owner(struct reading *r, const struct toml_node *node);
void read_socket_group(struct reading *r, const struct toml_node *node);
void read_admin_listen(struct reading *r, const struct toml_node *node);

/* Adds the fault of a key that no row has. NAMES: what would have been right there, ended by NULL. */
void reading_unknown_key(struct load *l, const struct toml_node *node, const char *section, const char *const *names);
