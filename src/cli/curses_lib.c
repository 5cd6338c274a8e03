#include "cli/curses_lib.h"

#include "base/err.h"
#include "base/late.h"

struct curses curses;

int curses_load(struct text *why) {
    struct late l;
    int err = late_open("libncursesw.so.6", &l, why);
    if (err < 0)
        return err;
#define FIND(name) late_find(&l, #name, &curses.name, sizeof(curses.name), why);
    CURSES_FUNCTIONS(FIND)
#undef FIND
    return l.well ? 0 : ERR_UNSUPPORTED;
}
