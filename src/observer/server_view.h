/*
 * How a server that is not ours stands, as the role that speaks to it reported it last.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/server_state.h"

struct server_view {
    bool up;
    int64_t since_s; /* 1970; 0 = nothing is known yet */
    char why[SERVER_WHY_MAX + 1];
};

/* The role's message. False: it makes no sense. */
bool server_view_take(struct server_view *v, const struct ipc_msg *m);

/* It is known that it cannot be used. */
bool server_view_away(const struct server_view *v);

/* "state", "since" and "error"; LINKED: the role is there. */
void server_view_put(const struct server_view *v, bool linked, json_t *o);
