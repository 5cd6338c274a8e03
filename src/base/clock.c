/* Clocks, read through the vDSO: cheap enough to read at every turn. */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/text.h"

static uint64_t read_us(clockid_t id) {
    struct timespec ts;
    MUST(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t clock_mono_us(void) {
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void) {
    return clock_mono_us() / 1000;
}

uint64_t clock_wall_us(void) {
    return read_us(CLOCK_REALTIME);
}

const char *clock_text(uint64_t wall_us, char to[static CLOCK_TEXT_MAX]) {
    time_t seconds = (time_t)(wall_us / 1000000u);
    struct tm tm;
    struct text t = text_of(to, CLOCK_TEXT_MAX);
    if (!gmtime_r(&seconds, &tm))
        return to;
    t.len = strftime(to, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    text_addf(&t, ".%06uZ", (unsigned)(wall_us % 1000000u));
    return to;
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

int clock_parse(const char *s, int64_t *ret_s) {
    struct tm tm = {.tm_sec = 0};
    int64_t offset;
    const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (p && *p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    if (!p || !read_offset(p, &offset))
        return ERR_FORMAT;
    *ret_s = (int64_t)timegm(&tm) - offset;
    return 0;
}
