/*
 * The ordered stop: handshakers finish what they have begun, relays let sessions finish what is in flight, then all others go,
 * the observer last so that nothing said on the way is lost.
 */
#include <sys/epoll.h>

#include "supervisor/super.h"

static uint64_t drain_left(const struct super *s) {
    return s->drain_until_ms > s->loop.now_ms ? s->drain_until_ms - s->loop.now_ms : 0;
}

static void drain_role(struct super *s, enum role role) {
    for (size_t i = 0; i < s->nworkers; i++) {
        struct worker *w = &s->workers[i];
        if (w->role != role)
            continue;
        wheel_cancel(&s->loop.wheel, &w->timer); /* no restarts any more */
        if (w->state == CHILD_NONE)
            continue;
        w->stopping = true;
        if (control_send_drain(w->control, &(struct control_drain){DRAIN_QUICK, drain_left(s)}) < 0)
            worker_stop(s, w);
    }
}

static void stop_role(struct super *s, enum role role) {
    for (size_t i = 0; i < s->nworkers; i++)
        if (s->workers[i].role == role)
            worker_stop(s, &s->workers[i]);
}

static void stop_others(struct super *s) {
    s->phase = STOP_OTHERS;
    wheel_cancel(&s->loop.wheel, &s->drain_timer);
    stop_role(s, ROLE_HANDSHAKER);
    stop_role(s, ROLE_RELAY);
    stop_role(s, ROLE_RESOLVER);
}

void stop_begin(struct super *s) {
    s->phase = STOP_HANDSHAKERS;
    notify("STOPPING=1");
    uint64_t ms = s->conf->drain_ms == CONF_NEVER ? UINT32_MAX : s->conf->drain_ms;
    s->drain_until_ms = s->loop.now_ms + ms;
    voice_say(&s->voice, LOG_LEVEL_INFO, "stopping: sessions may finish what is in flight");
    /* relays and handshakers keep the time themselves; this one is for those that do not answer */
    wheel_arm(&s->loop.wheel, &s->drain_timer, s->drain_until_ms + 1000);
    listeners_close(s);
    drain_role(s, ROLE_HANDSHAKER);
    stop_advance(s);
}

void stop_at_once(struct super *s) {
    if (s->phase >= STOP_OTHERS)
        return;
    stop_others(s);
    stop_advance(s);
}

void stop_advance(struct super *s) {
    if (s->phase == STOP_HANDSHAKERS && workers_all(s, ROLE_HANDSHAKER, CHILD_DRAINED)) {
        s->phase = STOP_RELAYS;
        drain_role(s, ROLE_RELAY);
    }
    if (s->phase == STOP_RELAYS && workers_all(s, ROLE_RELAY, CHILD_DRAINED))
        stop_others(s);
    if (s->phase == STOP_OTHERS && workers_gone(s, ROLE_HANDSHAKER) && workers_gone(s, ROLE_RELAY) &&
        workers_gone(s, ROLE_RESOLVER)) {
        s->phase = STOP_OBSERVER;
        voice_say(&s->voice, LOG_LEVEL_INFO, "stopped: %llu sessions were cut", (unsigned long long)s->cut);
        stop_role(s, ROLE_OBSERVER);
    }
    if (s->phase == STOP_OBSERVER && workers_gone(s, ROLE_OBSERVER))
        s->loop.stop = true;
}
