#include "acme/renewal.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

#define MINUTE_S     INT64_C(60)
#define DAY_S        INT64_C(86400)
#define SHORT_LIVED  (10 * DAY_S)
#define ASK_AGAIN_S  (6 * INT64_C(3600))
#define LATEST_SHARE 8 /* of what is left */

int64_t renewal_time(int64_t not_before, int64_t not_after) {
    int64_t lifetime = not_after - not_before;
    return not_after - (lifetime < SHORT_LIVED ? lifetime / 2 : lifetime / 3);
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

int64_t renewal_choose(int64_t start, int64_t end, uint64_t random) {
    return end > start ? start + (int64_t)(random % (uint64_t)(end - start)) : 0;
}

int64_t renewal_ask_again(int64_t retry_after) {
    return retry_after < 0 ? ASK_AGAIN_S : MIN(MAX(retry_after, MINUTE_S), DAY_S);
}

/* "Z" or "+02:00"; seconds to take off. */
static bool read_offset(const char *s, int64_t *ret) {
    struct tm tm = {.tm_sec = 0};
    if (strcmp(s, "Z") == 0 || strcmp(s, "z") == 0) {
        *ret = 0;
        return true;
    }
    const char *end = *s == '+' || *s == '-' ? strptime(s + 1, "%H:%M", &tm) : NULL;
    *ret = (*s == '-' ? -1 : 1) * (tm.tm_hour * INT64_C(3600) + tm.tm_min * INT64_C(60));
    return end && *end == 0;
}

int renewal_read_time(const char *s, int64_t *ret) {
    struct tm tm = {.tm_sec = 0};
    int64_t offset;
    const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (p && *p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    if (!p || !read_offset(p, &offset))
        return ERR_FORMAT;
    *ret = (int64_t)timegm(&tm) - offset;
    return 0;
}
