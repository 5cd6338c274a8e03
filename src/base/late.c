#include "base/late.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"

int late_open(const char *name, struct late *ret, struct text *why) {
    *ret = (struct late){.name = name, .library = dlopen(name, RTLD_NOW | RTLD_LOCAL)};
    ret->well = ret->library != NULL;
    if (!ret->well)
        text_add(why, dlerror());
    return ret->well ? 0 : ERR_UNSUPPORTED;
}

void late_find(struct late *l, const char *function, void *place, size_t size, struct text *why) {
    void *found = dlsym(l->library, function);
    MUST(size == sizeof(found));
    memcpy(place, &found, size); /* a function through an object pointer, which POSIX allows and ISO C does not spell */
    if (!found && l->well)
        text_addf(why, "%s has no %s", l->name, function);
    l->well = l->well && found;
}
