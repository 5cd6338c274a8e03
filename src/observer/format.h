/*
 * A list of fields as one line. Whatever bytes an outsider puts into a value (SNI, ALPN), the line stays one line, stays valid
 * UTF-8 without control characters, and no value can end its own quotes.
 */
#pragma once

#include "base/text.h"
#include "observer/fields.h"

#define FORMAT_LINE_MAX (20 * 1024) /* more than the longest list of fields takes, every byte escaped */

/*
 * Adds the line without an end of line. WITH_HEAD false leaves time and level out, for targets that carry their own.
 *   text    2026-11-22T18:03:11.123Z INFO relay.0 session service=web client=1.2.3.4:5678
 *   json    {"time":"2026-11-22T18:03:11.123Z","level":"info","event":"session","role":"relay.0","service":"web"}
 *   logfmt  time=2026-11-22T18:03:11.123Z level=info event=session role=relay.0 service=web
 */
void format_line(struct text *t, enum log_format format, const struct fields *f, bool with_head);
