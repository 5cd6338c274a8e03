#include "observer/mhd.h"

#include "base/dlopen.h"
#include "base/err.h"

struct mhd mhd;

int mhd_load(struct text *why) {
    struct dlopen_table l;
    int err = dlopen_open("libmicrohttpd.so.12", &l, why);
    if (err < 0)
        return err;
#define FIND(name) dlopen_find(&l, "MHD_" #name, &mhd.name, sizeof(mhd.name), why);
    MHD_FUNCTIONS(FIND)
#undef FIND
    return l.ok ? 0 : ERR_UNSUPPORTED;
}
