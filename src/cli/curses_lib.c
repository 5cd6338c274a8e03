#include "cli/curses_lib.h"

#include "base/dlopen.h"
#include "base/err.h"

struct curses curses;

int curses_load(struct text *why) {
    struct dlopen_table l;
    int err = dlopen_open("libncursesw.so.6", &l, why);
    if (err < 0)
        return err;
#define FIND(name) dlopen_find(&l, #name, &curses.name, sizeof(curses.name), why);
    CURSES_FUNCTIONS(FIND)
#undef FIND
    return l.ok ? 0 : ERR_UNSUPPORTED;
}
