/*
 * How a handshaker shares its CPU with relays, without a lower priority, which would let handshakes starve beside an
 * application that fills the CPUs.
 *
 * What slows sessions down in a flood of handshakes is not the handshaker's weight. It is long runs without sleep, in which the
 * scheduler does not choose again, and hand-off in bulk: a relay that takes many new sessions at once beside a runnable
 * handshaker owes CPU time afterwards, and its sessions wait. So while there is more to do, sessions are sent two at a time,
 * and only when the relay has read those before; and after a short run the handshaker yields. A handshaker about to sleep does
 * not compete: at the end of a turn with no other event all that are queued are sent together.
 */
#include "handshaker/pace.h"

#include <sched.h>

#include "base/clock.h"
#include "handshaker/handoff_queue.h"
#include "handshaker/handshaker.h"

#define HANDSHAKER_OVER_US 250 /* between two hand-offs */
#define RUN_US             200 /* without sleep, before it yields */

void pace(struct handshaker *h) {
    uint64_t now_us = clock_mono_us();
    loop_mark(&h->loop, now_us, 0);
    if (now_us - h->handed_us >= HANDSHAKER_OVER_US && handoff_queue_send_few(h))
        h->handed_us = now_us;
    if (h->signing.waits != h->waits_before) { /* the signer ran while we waited for it */
        h->waits_before = h->signing.waits;
        h->yielded_us = now_us;
    }
    if (now_us - MAX(h->yielded_us, h->loop.woke_us) < RUN_US)
        return;
    (void)sched_yield(); /* it cannot fail */
    h->yielded_us = clock_mono_us();
}

/* No session stays queued while the loop sleeps: with some left it polls for events once more, and without any sends all. */
bool pace_turn(struct handshaker *h) {
    if (h->loop.events == 0)
        handoff_queue_flush(h);
    return handoff_queue_waits(h);
}
