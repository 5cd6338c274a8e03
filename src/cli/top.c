#include "cli/top.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

#define TICK_MS    1000
#define KEY_ESC    27
#define ESC_MS     25 /* an Esc that no further byte follows within that time is one */
#define FAILING_MS 250

const char top_usage[] =
    "usage: tls-off top [--admin PATH]\n"
    "\n"
    "The running proxy, live: totals with the last minute, clients by rate, services and backends, failed\n"
    "handshakes by reason, processes. ? shows the keys. It continues through reloads and restarts.\n"
    "\n"
    "Exit status: 0 done, 1 ncurses is not available, 2 wrong usage or no terminal, 3 no running tls-off\n"
    "reached.\n";

static volatile sig_atomic_t asked_to_end;

static void on_end_signal(int signal) {
    (void)signal;
    asked_to_end = 1;
}

/*
 * Set before ncurses starts, which keeps handlers that are not the default: the terminal is restored on the ordinary way out.
 */
static void catch_signals(void) {
    struct sigaction act = {.sa_handler = on_end_signal};
    sigemptyset(&act.sa_mask);
    (void)sigaction(SIGINT, &act, NULL); /* cannot fail with these arguments */
    (void)sigaction(SIGTERM, &act, NULL);
    (void)sigaction(SIGHUP, &act, NULL);
    (void)sigaction(SIGQUIT, &act, NULL);
}

/* ---- keys ---- */

/* While the filter is typed, keys are its letters. */
static void edit_filter(struct top *t, int key) {
    size_t n = strlen(t->filter);
    if (key == '\n' || key == '\r' || key == KEY_ENTER) {
        t->typing = false;
    } else if (key == KEY_ESC) {
        t->typing = false;
        t->filter[0] = 0;
    } else if (key == KEY_BACKSPACE || key == 127 || key == 8) {
        t->filter[n > 0 ? n - 1 : 0] = 0;
    } else if (key >= ' ' && key < 127 && n + 1 < sizeof(t->filter)) {
        t->filter[n] = (char)key;
        t->filter[n + 1] = 0;
    }
}

static void follow_client(struct top *t, const char *client) {
    memmove(t->followed, client, strlen(client) + 1);
    t->nhistory = 0;
    json_decref(t->sessions);
    t->sessions = NULL;
}

static void back(struct top *t) {
    if (t->help)
        t->help = false;
    else if (t->followed[0])
        follow_client(t, "");
    else
        t->filter[0] = 0;
}

/* Chooses another client where a list of them is shown, scrolls where another list is. */
static void move_selection(struct top *t, int rows) {
    if (t->view == TOP_OVERVIEW || t->view == TOP_CLIENTS || t->followed[0])
        top_select(t, rows);
    else
        t->scroll = rows < 0 && t->scroll < (unsigned)-rows ? 0 : t->scroll + (unsigned)rows;
}

/* The N-th view, of all clients. */
static void change_view(struct top *t, int n) {
    t->view = (enum top_view)n;
    t->help = false;
    t->scroll = 0;
    if (t->followed[0])
        follow_client(t, "");
}

/* True when other data is needed at once. */
static bool on_key(struct top *t, int key) {
    if (t->typing) {
        edit_filter(t, key);
        return false;
    }
    switch (key) {
    case 'q':
        asked_to_end = 1;
        return false;
    case 'p':
    case ' ':
        t->paused = !t->paused;
        return !t->paused;
    case '?':
    case 'h':
        t->help = !t->help;
        return false;
    case '/':
        t->typing = true;
        return false;
    case 's':
        t->sort = top_sorts[t->sort + 1] ? t->sort + 1 : 0;
        return !t->paused;
    case KEY_UP:
    case 'k':
        move_selection(t, -1);
        return false;
    case KEY_DOWN:
    case 'j':
        move_selection(t, 1);
        return false;
    case KEY_PPAGE:
        move_selection(t, -10);
        return false;
    case KEY_NPAGE:
        move_selection(t, 10);
        return false;
    case '\n':
    case '\r':
    case KEY_ENTER:
    case 'f':
        if (!t->selected[0])
            top_select(t, 0);
        if (!t->followed[0] && t->selected[0])
            follow_client(t, t->selected);
        return true;
    case KEY_ESC:
        back(t);
        return true;
    default:
        if (key < '1' || key >= '1' + TOP_VIEWS)
            return false;
        change_view(t, key - '1');
        return !t->paused;
    }
}

/* All keys that wait. True when other data is needed at once. */
static bool take_keys(struct top *t) {
    bool fetch = false;
    for (int key; (key = curses.wgetch(t->window)) != ERR;)
        fetch = on_key(t, key) || fetch;
    return fetch;
}

/* ---- the terminal ---- */

static bool open_screen(struct top *t) {
    const char *no_color = getenv("NO_COLOR");
    (void)setlocale(LC_ALL, ""); /* without it only ASCII is shown */
    t->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    catch_signals();
    t->window = curses.initscr();
    if (!t->window)
        return false;
    (void)curses.cbreak();
    (void)curses.noecho();
    (void)curses.keypad(t->window, TRUE);
    (void)curses.nodelay(t->window, TRUE);
    (void)curses.set_escdelay(ESC_MS);
    (void)curses.curs_set(0); /* some terminals cannot */
    t->color =
        !(no_color && no_color[0]) && curses.has_colors() && curses.start_color() == OK && curses.use_default_colors() == OK;
    if (t->color) {
        (void)curses.init_pair(1, COLOR_RED, -1);
        (void)curses.init_pair(2, COLOR_YELLOW, -1);
    }
    return true;
}

/* Until a key, a signal or the next second. */
static void wait_until(uint64_t next_ms) {
    uint64_t now_ms = clock_mono_ms();
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (now_ms < next_ms)
        (void)poll(&p, 1, (int)(next_ms - now_ms)); /* the loop checks what it was */
    if (p.revents & (POLLHUP | POLLERR | POLLNVAL))
        asked_to_end = 1; /* the terminal is gone */
}

static void run_screen(struct top *t) {
    uint64_t next_ms = clock_mono_ms() + TICK_MS;
    top_draw(t);
    while (!asked_to_end) {
        wait_until(next_ms);
        bool fetch = take_keys(t);
        if (clock_mono_ms() >= next_ms) {
            fetch = fetch || !t->paused;
            next_ms = clock_mono_ms() + TICK_MS;
        }
        if (fetch && !asked_to_end && !top_fetch(t)) /* a proxy that reloads is back soon */
            next_ms = clock_mono_ms() + FAILING_MS;
        top_draw(t);
    }
}

int cmd_top(const struct arguments *a) {
    static struct top t;
    char line[256];
    struct text why = text_of(line, sizeof(line));
    if (!admin_args_read(a, NULL, NULL, &t.args))
        return EXIT_USAGE;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fprintf(stderr, "tls-off top: needs a terminal; `tls-off status --json` is for programs\n");
        return EXIT_USAGE;
    }
    if (!top_fetch(&t)) {
        int status = admin_unreachable(&t.args, t.err);
        top_free(&t);
        return status;
    }
    if (curses_load(&why) < 0 || !open_screen(&t)) {
        fprintf(stderr, "tls-off top: %s\n", why.len ? line : "the terminal is not usable");
        top_free(&t);
        return EXIT_INPUT;
    }
    run_screen(&t);
    (void)curses.endwin(); /* the terminal is gone: nothing to do */
    top_free(&t);
    return EXIT_OK;
}
