#include "acme/renewal.h"

#include <stddef.h>

#define MINUTE_S     INT64_C(60)
#define DAY_S        INT64_C(86400)
#define SHORT_LIVED  (10 * DAY_S)
#define ASK_AGAIN_S  (6 * INT64_C(3600))
#define LATEST_SHARE 8 /* of what is left */

int64_t renewal_time(int64_t not_before, int64_t not_after) {
    int64_t lifetime = not_after - not_before;
    return not_after - (lifetime < SHORT_LIVED ? lifetime / 2 : lifetime / 3);
}

int64_t renewal_latest(int64_t not_before, int64_t not_after) {
    int64_t at = renewal_time(not_before, not_after);
    return at + (renewal_alarm(at, not_after) - at) / 2;
}

int64_t renewal_alarm(int64_t renew_at, int64_t not_after) {
    return renew_at < not_after ? not_after - (not_after - renew_at) / 2 : not_after;
}

int64_t renewal_pause(unsigned failures, int64_t now, int64_t not_after) {
    static const int64_t pauses[] = {MINUTE_S, 10 * MINUTE_S, 100 * MINUTE_S, DAY_S};
    int64_t pause = failures ? pauses[MIN((size_t)failures, ARRAY_LEN(pauses)) - 1] : 0;
    if (not_after > now)
        pause = MIN(pause, (not_after - now) / LATEST_SHARE);
    return MAX(pause, MINUTE_S);
}

int64_t renewal_retry_after(int64_t retry_after, int64_t now, int64_t not_after) {
    int64_t most = not_after > now ? MIN((not_after - now) / LATEST_SHARE, RENEWAL_RETRY_MAX_S) : RENEWAL_RETRY_MAX_S;
    return MAX(MIN(retry_after, most), 0);
}

int64_t renewal_choose(int64_t start, int64_t end, uint64_t random) {
    return end > start ? start + (int64_t)(random % (uint64_t)(end - start)) : 0;
}

int64_t renewal_ask_again(int64_t retry_after) {
    return retry_after < 0 ? ASK_AGAIN_S : MIN(MAX(retry_after, MINUTE_S), DAY_S);
}
