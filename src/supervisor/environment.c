#include "supervisor/environment.h"

#include <string.h>
#include <unistd.h>

#include "base/defs.h"

#define ROLE(name) (1u << ROLE_##name)
#define ALL        (~0u)

static const struct allowed {
    const char *name;
    unsigned roles;
} list[] = {
    {"LD_LIBRARY_PATH", ALL}, /* what the supervisor itself was loaded with */
    {"LD_PRELOAD", ALL},
    {"ASAN_OPTIONS", ALL},
    {"LSAN_OPTIONS", ALL},
    {"UBSAN_OPTIONS", ALL},
    {"TZ", ROLE(OBSERVER)},
    {"HOME", ROLE(CONFIG)}, /* where state and admin socket are by default */
    {"XDG_STATE_HOME", ROLE(CONFIG)},
    {"STATE_DIRECTORY", ROLE(CONFIG)},
    {"RUNTIME_DIRECTORY", ROLE(CONFIG)},
    {"XDG_RUNTIME_DIR", ROLE(CONFIG)},
    {"RES_OPTIONS", ROLE(RESOLVER) | ROLE(CONFIG) | ROLE(ACME)}, /* resolver(5) */
    {"LOCALDOMAIN", ROLE(RESOLVER) | ROLE(CONFIG) | ROLE(ACME)},
};

static const struct allowed *allowed_of(const char *variable) {
    size_t len = strcspn(variable, "=");
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        if (strlen(list[i].name) == len && memcmp(list[i].name, variable, len) == 0)
            return &list[i];
    return NULL;
}

/* Those of FROM for one of ROLES. */
static void choose_variables(char **from, unsigned roles, char *to[static ARRAY_LEN(list) + 1]) {
    size_t n = 0;
    for (; from && *from && n < ARRAY_LEN(list); from++) {
        const struct allowed *a = allowed_of(*from);
        if (a && a->roles & roles)
            to[n++] = *from;
    }
    to[n] = NULL;
}

void environment_clean(void) {
    static char *own[ARRAY_LEN(list) + 1];
    choose_variables(environ, ALL, own);
    environ = own;
}

char **environment_of(enum role role) {
    static char *of_role[ARRAY_LEN(list) + 1];
    choose_variables(environ, 1u << role, of_role);
    return of_role;
}
