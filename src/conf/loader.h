/*
 * Inside of the loader: what its steps share. One struct load lives for one conf_load_*() call; the steps run in the order
 * below, and each goes on after a fault, so that everything wrong is reported at once. The conf may have gaps meanwhile: a key
 * that was refused keeps its default, a list that was refused is shorter or empty.
 */
#pragma once

#include <limits.h>

#include "base/defs.h"
#include "conf/conf.h"
#include "conf/key_table.h"
#include "conf/load.h"
#include "conf/toml_face.h"

#define CONF_LIST_MAX     64 /* items of ALPN, suites, groups, TLVs */
#define CONF_CERTS_MAX    1024
#define CONF_TRUST_MAX    1024
#define CONF_ACCESS_MAX   1024                        /* entries of allow, and of deny */
#define SERVICES_OWN      2                           /* that no operator has written */
#define CONF_DURATION_MAX (366ull * 24 * 3600 * 1000) /* milliseconds */
#define CONF_KEY_TEXT_MAX 256

/* One for each row of the table. */
#define KEY_NUMBER(key, ...) key,
enum conf_key { KEY_TABLE(KEY_NUMBER) KEY_COUNT };
#undef KEY_NUMBER

/* Where a value came from. LINE 0: the command line, or nowhere in particular. */
struct origin {
    struct toml_pos at;
    const char *key; /* "service.web.listen"; in the conf's arena */
};

/* A service's origins, beside conf.services[i]. */
struct service_origin {
    struct toml_pos at;                      /* its section */
    const struct toml_node *node[KEY_COUNT]; /* NULL = not given */
    struct toml_pos *cert_at;                /* one for each of conf_service.certs */
    const char **managed_names;              /* of "acme" */
    size_t nmanaged_names;
};

/* A listener's origins, beside conf.listeners[i]. */
struct listener_origin {
    struct origin first;                     /* the first place that listens there */
    struct toml_pos at;                      /* its own section; line 0 = none */
    const struct toml_node *node[KEY_COUNT]; /* NULL = not given */
};

struct load {
    struct conf *conf;
    struct diagnostics *diagnostics;
    const struct conf_capabilities *capabilities;
    unsigned flags;
    const char *file;   /* as the operator named it; NULL = the command line */
    char dir[PATH_MAX]; /* absolute; where relative file names start */
    struct toml_node *root;
    const struct toml_node *node[KEY_COUNT]; /* keys outside services */
    struct service_origin *services;
    struct listener_origin *listeners;
    const struct toml_node *listener_sections; /* NULL = none */
    struct conf_backend acme_tls;              /* TEXT NULL = not given */
    uint16_t *acme_http;                       /* listeners of [acme] */
    size_t nacme_http;
};

/* report.c. Adds a diagnostic. AT with line 0 gives the file alone, or "command line". */
void load_error(struct load *l, struct toml_pos at, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);
void load_warning(struct load *l, struct toml_pos at, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A listen item as an address; what was expected is added to WHY. ERR_FORMAT, ERR_LIMIT. */
MUST_CHECK int load_listen_address(struct load *l, const char *text, struct conf_listener *ret, struct text *why);

/* Whether two listeners are one and the same, port 0 included. */
bool load_same_listener(const struct conf_listener *a, const struct conf_listener *b);

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

/* schema.c: every key of the file, one by one. False when the text is no TOML. */
bool load_schema(struct load *l, const char *text, size_t len);

/* flags.c: the service "default", in the place of a file. */
void flags_read(struct load *l, const struct conf_flags *f);

/* load.c: defaults from the machine for keys that are not set: workers, user, state directory, suites, groups. */
void load_environment(struct load *l);

/* admin_keys.c: the admin socket's place when none is given. */
void admin_defaults(struct load *l);
void check_admin(struct load *l);

/* cross_check.c: keys against each other. */
void check_keys(struct load *l);

/* keylog.c: where the key log is, and whether that will do. After the environment, which has the state directory. */
void keylog_settle(struct load *l);

/* state_dir.c: makes what is above the state directory, or says why a start could not. */
void state_dir_settle(struct load *l);

/* check_files.c: what the keys name on this machine. May write a self-signed certificate. */
void check_files(struct load *l);

/* check_routes.c: services and names that no client can reach. After the files, which have the names. */
void check_routes(struct load *l);

/* ports.c: whether each address can be listened on. */
void check_ports(struct load *l);
