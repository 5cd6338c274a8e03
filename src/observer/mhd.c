#include "observer/mhd.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"

#define LIBRARY "libmicrohttpd.so.12"

struct mhd mhd;

/* A function's address through an object pointer, which POSIX allows and ISO C does not spell. */
static bool find(void *library, const char *name, void *place, size_t size, struct text *why) {
    void *found = dlsym(library, name);
    MUST(size == sizeof(found));
    memcpy(place, &found, size);
    if (!found)
        text_addf(why, "%s has no %s", LIBRARY, name);
    return found != NULL;
}

int mhd_load(struct text *why) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        text_add(why, dlerror());
        return ERR_UNSUPPORTED;
    }
    bool well = true;
#define FIND(name) well = well && find(library, "MHD_" #name, &mhd.name, sizeof(mhd.name), why);
    MHD_FUNCTIONS(FIND)
#undef FIND
    return well ? 0 : ERR_UNSUPPORTED;
}
