/* `tls-off top`: the running proxy in a terminal, once a second. What its files share. */
#pragma once

#include "cli/admin_client.h"
#include "cli/curses_lib.h"

#define TOP_SECONDS 60 /* of the followed client's history */
#define TOP_TEXT    128

enum top_view { TOP_OVERVIEW, TOP_CLIENTS, TOP_SERVICES, TOP_FAILURES, TOP_PROCESSES, TOP_VIEWS };

struct top {
    struct admin_args args;
    WINDOW *window;
    bool utf8, color;
    enum top_view view;
    unsigned sort;   /* index into top_sorts */
    unsigned scroll; /* rows above the first one shown, in views that are one list and not of clients */
    bool paused, help;
    bool typing; /* the filter is being typed */
    char filter[TOP_TEXT];
    char selected[TOP_TEXT]; /* a client */
    char followed[TOP_TEXT]; /* empty = none */
    /* the latest answers; NULL = none yet */
    json_t *status, *clients, *sessions;
    json_t *before;              /* the status before that, for shares of CPU time */
    int err;                     /* of the last try to get them */
    uint64_t since_ms;           /* when it began to fail */
    double history[TOP_SECONDS]; /* of the followed client: bytes a second both ways, a ring */
    unsigned nhistory;
};

/* "rate", "bytes" ... as /clients.json takes them; ends with NULL. */
struct arguments;
extern const char *const top_sorts[];

extern const char top_usage[];

/* The exit status. */
int cmd_top(const struct arguments *a);

/* top_data.c: requests everything the present view needs. False without an answer; the old data stays. */
bool top_fetch(struct top *t);
void top_free(struct top *t);

/* Whether the filter lets this text through. */
bool top_passes(const struct top *t, const char *text);

/* Bytes a second of a client or service, both ways, over "1s", "10s" or "60s". */
double top_rate(const json_t *o, const char *span);

/* Percent of a CPU that a process used between the last two readings; -1 when it is not known. */
double top_cpu(const struct top *t, const json_t *process);

/* The client N places behind the selected one (or before it) among those that pass becomes the selected one. */
void top_select(struct top *t, int n);

/* top_draw.c */
void top_draw(struct top *t);
