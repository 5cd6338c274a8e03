#include "conf/default_paths.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first directory of a variable that holds a list with colons; false when it is none or not absolute. */
static bool add_directory(struct text *t, const char *variable) {
    const char *list = getenv(variable);
    if (!list || list[0] != '/')
        return false;
    text_add_span(t, span_of(list, strcspn(list, ":")));
    return true;
}

void default_state_dir(struct text *t) {
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (add_directory(t, "STATE_DIRECTORY"))
        return;
    if (geteuid() == 0) {
        text_add(t, "/var/lib/tls-off");
    } else if (xdg && xdg[0] == '/') {
        text_addf(t, "%s/tls-off", xdg);
    } else {
        const struct passwd *pw = home && home[0] == '/' ? NULL : getpwuid(geteuid());
        text_addf(t, "%s/.local/state/tls-off", pw ? pw->pw_dir : home && home[0] == '/' ? home : "");
    }
}

void default_admin_socket(struct text *t, const char *state_dir) {
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (add_directory(t, "RUNTIME_DIRECTORY"))
        text_add(t, "/admin.sock");
    else if (geteuid() == 0)
        text_add(t, "/run/tls-off/admin.sock");
    else if (run && run[0] == '/')
        text_addf(t, "%s/tls-off/admin.sock", run);
    else
        text_addf(t, "%s/admin.sock", state_dir);
}
