#include "cli/curses_lib.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"

#define LIBRARY "libncursesw.so.6"

struct curses curses;

/* A function's address through an object pointer, which POSIX allows and ISO C does not spell. */
static bool find_function(void *library, const char *name, void *place, size_t size, struct text *why) {
    void *found = dlsym(library, name);
    MUST(size == sizeof(found));
    memcpy(place, &found, size);
    if (!found)
        text_addf(why, "%s has no %s", LIBRARY, name);
    return found != NULL;
}

int curses_load(struct text *why) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool well = true;
    if (!library) {
        text_add(why, dlerror());
        return ERR_UNSUPPORTED;
    }
#define FIND(name) well = well && find_function(library, #name, &curses.name, sizeof(curses.name), why);
    CURSES_FUNCTIONS(FIND)
#undef FIND
    return well ? 0 : ERR_UNSUPPORTED;
}
