/*
 * What the steps of the loader share. One struct load lives for one conf_load_*() call; the steps run in the order of load.c,
 * and each goes on after a fault, so that everything wrong is reported at once. The conf may have gaps meanwhile: a key that
 * was refused keeps its default, a list that was refused is shorter or empty.
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
