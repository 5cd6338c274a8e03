/*
 * ncurses, loaded at run time by `tls-off top` alone: as a linked library every role would map it and relocate it. Constants
 * and types come from its header; functions through the table, macros over them are not used.
 */
#pragma once

#define NCURSES_NOMACROS
#define NCURSES_WIDECHAR 0
#include <curses.h>

#include "base/defs.h"
#include "base/text.h"

#define CURSES_FUNCTIONS(X)                                                                                                    \
    X(initscr)                                                                                                                 \
    X(endwin)                                                                                                                  \
    X(cbreak)                                                                                                                  \
    X(noecho)                                                                                                                  \
    X(keypad)                                                                                                                  \
    X(nodelay)                                                                                                                 \
    X(curs_set)                                                                                                                \
    X(start_color)                                                                                                             \
    X(use_default_colors)                                                                                                      \
    X(has_colors)                                                                                                              \
    X(init_pair)                                                                                                               \
    X(set_escdelay)                                                                                                            \
    X(werase)                                                                                                                  \
    X(wmove)                                                                                                                   \
    X(waddnstr)                                                                                                                \
    X(wattr_set)                                                                                                               \
    X(wnoutrefresh)                                                                                                            \
    X(doupdate)                                                                                                                \
    X(wgetch)                                                                                                                  \
    X(resizeterm)                                                                                                              \
    X(getmaxx)                                                                                                                 \
    X(getmaxy)                                                                                                                 \
    X(wclrtoeol)

struct curses {
#define MEMBER(name) __typeof__(name) *name;
    CURSES_FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Filled by curses_load(), constant afterwards. */
extern struct curses curses;

/* ERR_UNSUPPORTED with a sentence in WHY. */
MUST_CHECK int curses_load(struct text *why);
