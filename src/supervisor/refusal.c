#include "supervisor/refusal.h"

#include <stdarg.h>
#include <stdio.h>

#include "supervisor/super.h"

void refuse_next(struct super *s, const char *fmt, ...) {
    struct refusal *r = &s->refusal;
    va_list ap;
    if (r->is_made)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(r->text, sizeof(r->text), fmt, ap); /* truncated when too long */
    va_end(ap);
    r->is_made = true;
}
