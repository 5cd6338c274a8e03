/* What the steps of the loader share: diagnostics, positions and names of keys, absolute file names. */
#include "conf/report.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "conf/schema.h"

#define SERVICE_PREFIX  "service.*."
#define LISTENER_PREFIX "listener.*."

static void PRINTF_LIKE(5, 0)
    add_fault(struct load *l, bool is_error, struct toml_pos at, const char *key, const char *fmt, va_list args) {
    char position[512], line[1024];
    struct text t = text_of(position, sizeof(position));
    text_add(&t, l->file ? l->file : "command line");
    if (at.line && l->file)
        text_addf(&t, ":%u:%u", at.line, at.column);
    (void)vsnprintf(line, sizeof(line), fmt, args); /* cut is fine in a message */
    diagnostics_add(l->diagnostics, is_error, position, key, "%s", line);
}

void load_error(struct load *l, struct toml_pos at, const char *key, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    add_fault(l, true, at, key, fmt, args);
    va_end(args);
}

void load_warning(struct load *l, struct toml_pos at, const char *key, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    add_fault(l, false, at, key, fmt, args);
    va_end(args);
}

const char *load_top_key(enum conf_key key) {
    return key_rows[key].path;
}

const char *load_key(struct load *l, size_t service, enum conf_key key) {
    char name[CONF_KEY_TEXT_MAX];
    struct text t = text_of(name, sizeof(name));
    if (!l->file)
        return key == KEY_LISTEN ? "--listen" : key == KEY_BACKENDS ? "--backend" : key == KEY_SERVICE_ACME ? "--name" : NULL;
    text_addf(&t, "service.%s.%s", l->conf->services[service].name, key_rows[key].path + strlen(SERVICE_PREFIX));
    return conf_strdup(l->conf, name);
}

const char *load_listener_key(struct load *l, size_t listener, enum conf_key key) {
    char name[CONF_KEY_TEXT_MAX];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "listener.\"%.180s\".%s", l->conf->listeners[listener].name, key_rows[key].path + strlen(LISTENER_PREFIX));
    return conf_strdup(l->conf, name);
}

struct toml_pos load_listener_at(const struct load *l, size_t listener, enum conf_key key) {
    const struct listener_origin *o = &l->listeners[listener];
    return o->node[key] ? o->node[key]->at : o->at;
}

struct toml_pos load_at(const struct load *l, size_t service, enum conf_key key) {
    const struct service_origin *o = &l->services[service];
    return o->node[key] ? o->node[key]->at : o->at;
}

struct toml_pos load_top_at(const struct load *l, enum conf_key key) {
    return l->node[key] ? l->node[key]->at : (struct toml_pos){0, 0};
}

const char *load_path(struct load *l, const char *name) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    if (name[0] != '/')
        text_addf(&t, "%s%s", l->dir, l->dir[1] ? "/" : "");
    text_add(&t, name);
    return t.cut ? NULL : conf_strdup(l->conf, path);
}
