#include "base/dlopen.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"

int dlopen_open(const char *name, struct dlopen_table *ret, struct text *why) {
    *ret = (struct dlopen_table){.name = name, .library = dlopen(name, RTLD_NOW | RTLD_LOCAL)};
    ret->ok = ret->library != NULL;
    if (!ret->ok)
        text_add(why, dlerror());
    return ret->ok ? 0 : ERR_UNSUPPORTED;
}

void dlopen_find(struct dlopen_table *l, const char *function, void *place, size_t size, struct text *why) {
    void *found = dlsym(l->library, function);
    MUST(size == sizeof(found));
    memcpy(place, &found, size); /* a function through an object pointer, which POSIX allows and ISO C does not spell */
    if (!found && l->ok)
        text_addf(why, "%s has no %s", l->name, function);
    l->ok = l->ok && found;
}
