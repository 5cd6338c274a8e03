/*
 * Sessions that come from handshakers. A message of some is taken whole with all its descriptors, or stays in its link's queue;
 * of the one at hand one session begins a turn, so that between new ones those that are there have theirs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/log_pause.h"
#include "base/rd.h"
#include "base/wheel.h"
#include "shm/bounds.h"
#include "wire/export_link.h"

struct relay;

struct arrivals {
    int links[WORKERS_MAX]; /* to handshakers; -1 = none */
    bool paused;            /* no room: no session is taken */
    struct wtimer timer;    /* when there may be some again */
    struct log_pause full_log;
    uint8_t *body; /* IPC_BODY_MAX bytes of secret memory: the message at hand, */
    size_t len;
    struct export_batch head;
    struct rd rest;             /* its sessions that have not begun, */
    int fds[EXPORT_ARRIVE_MAX]; /* and all its descriptors */
    unsigned n, begun;          /* how many they are; N = 0: there is none */
};

/* ERR_NOMEM. */
MUST_CHECK int arrivals_init(struct arrivals *a);

/* FD (owned from here) is the link to handshaker I, in the place of the one before. */
void arrivals_link(struct relay *r, uint16_t i, int fd);
void arrivals_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Begins one session. True: there are more that can begin at once. */
bool arrivals_turn(struct relay *r);

/* Reads all links now, and begins one session. */
void arrivals_read(struct relay *r);

/* The timer has fired: looks for room again. */
void arrivals_timer(void *ctx, struct wtimer *t);

/* While handshakers live or a message is at hand, more may come. */
bool arrivals_may_come(const struct relay *r);
