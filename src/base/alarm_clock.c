#include "base/alarm_clock.h"

#include "base/defs.h"

void alarm_clock_ring(void *unused, struct wtimer *t) {
    (void)unused;
    struct alarm_clock *a = CONTAINER_OF(t, struct alarm_clock, timer);
    a->fn(a->ctx);
}
