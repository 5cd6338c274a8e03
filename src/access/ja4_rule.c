#include "access/ja4_rule.h"

#include <string.h>

#include "base/err.h"
#include "base/span.h"

#define JA4_PARTS 3

/* The part of TEXT that begins at *AT, which is moved behind the '_'. */
static struct span next_part(const char **at) {
    size_t n = strcspn(*at, "_");
    struct span part = span_of(*at, n);
    *at += n + ((*at)[n] == '_');
    return part;
}

/* Each '*' takes as little as it can, and one more when what follows does not fit. */
static bool part_takes(struct span rule, struct span part) {
    size_t r = 0, p = 0, star = SIZE_MAX, from = 0;
    while (p < part.len) {
        if (r < rule.len && rule.p[r] == '*') {
            star = r++;
            from = p;
        } else if (r < rule.len && rule.p[r] == part.p[p]) {
            r++;
            p++;
        } else if (star != SIZE_MAX) {
            r = star + 1;
            p = ++from;
        } else {
            return false;
        }
    }
    while (r < rule.len && rule.p[r] == '*')
        r++;
    return r == rule.len;
}

int ja4_rule_check(const char *rule, struct text *why) {
    static const size_t lengths[JA4_PARTS] = {10, 12, 12}; /* technical_details/JA4.md */
    static const char *const alphabets[JA4_PARTS] = {"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*",
                                                     "0123456789abcdef*", "0123456789abcdef*"};
    const char *at = rule;
    bool ok = strlen(rule) <= JA4_RULE_MAX;
    for (size_t i = 0; i < JA4_PARTS && ok; i++) {
        bool last = i == JA4_PARTS - 1, ends = at[strcspn(at, "_")] == 0;
        struct span part = next_part(&at);
        size_t stars = 0;
        for (size_t k = 0; k < part.len; k++) {
            stars += part.p[k] == '*';
            ok = ok && strchr(alphabets[i], part.p[k]);
        }
        ok = ok && last == ends && (stars ? part.len - stars <= lengths[i] : part.len == lengths[i]);
    }
    if (ok)
        return 0;
    text_add(why,
             "a pattern for JA4 like \"t13d*_8daaf6152771_*\": parts of 10, 12 and 12 characters, where '*' stands for any of "
             "its part");
    return ERR_FORMAT;
}

bool ja4_rule_takes(const char *rule, const char *ja4) {
    for (size_t i = 0; i < JA4_PARTS; i++)
        if (!part_takes(next_part(&rule), next_part(&ja4)))
            return false;
    return true;
}
