/* The [admin] section: where the admin socket lies and whose it is, and the read-only TCP address. */
#include "conf/admin_keys.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "conf/default_paths.h"
#include "conf/report.h"
#include "conf/scalars.h"

void read_admin_socket(struct reading *r, const struct toml_node *node) {
    struct conf_admin *a = &r->l->conf->admin;
    const char *path = node->string[0] ? load_path(r->l, node->string) : NULL;
    a->socket_given = true;
    a->socket = path;
    if (node->string[0] && (!path || strlen(path) > CONF_SOCKET_PATH_MAX))
        reading_refuse(r, node, "a file name of at most %d bytes, directory included, or \"\" for no socket",
                       CONF_SOCKET_PATH_MAX);
}

/* Three or four octal digits; nothing but read and write for owner, group and others. */
void read_socket_mode(struct reading *r, const struct toml_node *node) {
    const char *s = node->string[0] == '0' ? node->string + 1 : node->string;
    uint32_t mode = 0;
    size_t n = strlen(s);
    bool ok = n == 3;
    for (size_t i = 0; i < n && ok; i++) {
        ok = s[i] >= '0' && s[i] <= '7' && !(s[i] & 1);
        mode = mode << 3 | (uint32_t)(s[i] - '0');
    }
    if (ok && (mode & 0600) == 0600)
        scalar_set_number(r->row, r->base, mode);
    else
        reading_refuse(r, node, "an octal mode like \"0600\" or \"0660\"");
}

void read_socket_owner(struct reading *r, const struct toml_node *node) {
    const struct passwd *p = getpwnam(node->string);
    if (p)
        scalar_set_number(r->row, r->base, p->pw_uid);
    else
        reading_refuse(r, node, "a user that this machine has");
}

void read_socket_group(struct reading *r, const struct toml_node *node) {
    const struct group *g = getgrnam(node->string);
    if (g)
        scalar_set_number(r->row, r->base, g->gr_gid);
    else
        reading_refuse(r, node, "a group that this machine has");
}

void read_admin_listen(struct reading *r, const struct toml_node *node) {
    struct addr a;
    if (!node->string[0])
        return;
    if (addr_parse(node->string, &a) == 0)
        r->l->conf->admin.listen = a;
    else
        reading_refuse(r, node, "an address like \"127.0.0.1:9901\" or \"[::1]:9901\"");
}

/* Who reads all there sees every client's address: that is for this machine only. */
void check_admin(struct load *l) {
    const struct conf_admin *a = &l->conf->admin;
    char shown[ADDR_TEXT_MAX];
    if (a->listen.family == AF_UNSPEC || a->health_only || addr_is_loopback(&a->listen))
        return;
    load_error(l, load_top_at(l, KEY_ADMIN_LISTEN), load_top_key(KEY_ADMIN_LISTEN),
               "found \"%s\", expected a loopback address like \"127.0.0.1:9901\", or scope = \"health\" beside it",
               addr_text(&a->listen, shown));
}

void admin_defaults(struct load *l) {
    struct conf_admin *a = &l->conf->admin;
    char path[CONF_SOCKET_PATH_MAX + 1];
    struct text t = text_of(path, sizeof(path));
    if (a->socket_given)
        return;
    default_admin_socket(&t, l->conf->state_dir);
    a->socket = t.cut ? NULL : conf_strdup(l->conf, path);
}
