#include "fleet/redis_lib.h"

#include "base/dlopen.h"
#include "base/err.h"

#define AS_TEXT(x)      #x
#define SONAME(version) "libhiredis.so." AS_TEXT(version)

struct redis_lib redis_lib;

/* Its layout changes with its version: only the one of the headers will do. */
int redis_lib_load(struct text *why) {
    struct dlopen_table l;
    int err = dlopen_open(SONAME(HIREDIS_SONAME), &l, why);
    if (err < 0)
        return err;
#define FIND(name) dlopen_find(&l, #name, &redis_lib.name, sizeof(redis_lib.name), why);
    REDIS_FUNCTIONS(FIND)
#undef FIND
    return l.ok ? 0 : ERR_UNSUPPORTED;
}
