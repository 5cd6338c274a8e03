/* Where a service listens: one item of "listen", as text. */
#include "conf/listen_address.h"

#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "conf/scalars.h"
#include "conf/values.h"

static int read_unix(struct load *l, const char *path, struct conf_listener *ret, struct text *why) {
    char name[CONF_NAME_MAX + 1];
    struct text t = text_of(name, sizeof(name));
    int err = value_socket(l, path, &ret->path, why);
    if (err)
        return err;
    text_addf(&t, "unix:%s", ret->path);
    ret->name = conf_strdup(l->conf, name);
    return 0;
}

/* ":443" and "*:443": both families. */
static int read_both(struct load *l, const char *port, struct conf_listener *ret) {
    char both[ADDR_TEXT_MAX], name[ADDR_TEXT_MAX];
    struct text b = text_of(both, sizeof(both)), n = text_of(name, sizeof(name));
    text_addf(&b, "[::]%s", port);
    int err = b.cut ? ERR_FORMAT : addr_parse(both, &ret->addr);
    if (err)
        return err;
    ret->v6only = false;
    text_addf(&n, "*:%u", ret->addr.port);
    ret->name = conf_strdup(l->conf, name);
    return 0;
}

/* A scope is shown as it was written: its number says nothing to anybody. */
static int read_ip_address(struct load *l, const char *text, struct conf_listener *ret, struct text *why) {
    char name[ADDR_TEXT_MAX];
    int err = value_address(text, &ret->addr, why);
    if (err)
        return err;
    ret->v6only = true;
    ret->name = conf_strdup(l->conf, ret->addr.scope ? text : addr_text(&ret->addr, name));
    return 0;
}

int load_listen_address(struct load *l, const char *text, struct conf_listener *ret, struct text *why) {
    const char *port = text[0] == '*' ? text + 1 : text;
    scalar_defaults("listener.*", ret);
    int err = strncmp(text, "unix:", 5) == 0 ? read_unix(l, text + 5, ret, why)
              : port[0] == ':'               ? read_both(l, port, ret)
                                             : read_ip_address(l, text, ret, why);
    if (err && why->len == 0)
        text_add(why, "\"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\"");
    return err;
}

bool load_same_listener(const struct conf_listener *a, const struct conf_listener *b) {
    if (a->path || b->path)
        return a->path && b->path && strcmp(a->path, b->path) == 0;
    return addr_equal(&a->addr, &b->addr) && a->v6only == b->v6only;
}
