/*
 * How a handshaker shares its CPU with relays, without a lower priority, which would let handshakes starve beside an
 * application that fills the CPUs.
 *
 * What slows sessions down in a flood of handshakes is not the handshaker's weight. It is long runs without sleep, in which the
 * scheduler does not look again, and handing over in bulk: a relay that takes many new sessions at once beside a handshaker
 * that wants to run owes CPU time afterwards, and waits while sessions have something to do. So while there is more to do,
 * sessions leave in portions of two, and only when the relay has taken those before; and after a short run others get the CPU.
 * Who is about to sleep does not compete: at the end of a turn with no other event all that wait leave together.
 */
#include <sched.h>

#include "base/clock.h"
#include "handshaker/hand.h"

#define HANDSHAKER_OVER_US 250 /* between two portions */
#define RUN_US             200 /* without sleep, before others get the CPU */

void pace(struct hand *h) {
    uint64_t now_us = clock_mono_us();
    loop_mark(&h->loop, now_us, 0);
    if (now_us - h->handed_us >= HANDSHAKER_OVER_US && deliver_portion(h))
        h->handed_us = now_us;
    if (h->signatures != h->signed_before) { /* the signer ran while we waited for it */
        h->signed_before = h->signatures;
        h->rested_us = now_us;
    }
    if (now_us - MAX(h->rested_us, h->loop.woke_us) < RUN_US)
        return;
    (void)sched_yield(); /* it cannot fail */
    h->rested_us = clock_mono_us();
}

/* No session stays behind while the loop sleeps: with some left it looks for events once more, and finding none sends all. */
bool pace_turn(struct hand *h) {
    if (h->loop.events == 0)
        deliver_flush(h);
    return deliver_waits(h);
}
