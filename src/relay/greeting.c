#include "relay/greeting.h"

#include <string.h>

#include "base/defs.h"
#include "base/err.h"

#define CODE_LEN 3 /* of a reply's number */

/* How a line may begin, "#" for a digit, and what that means: 0 = welcome. The first that fits counts. */
static const struct opening {
    const char *text;
    enum greeting kind;
    int err;
} openings[] = {
    {"220", GREETING_SMTP, 0}, /* RFC 5321 4.2, 4.3.1; RFC 2033 */
    {"4##", GREETING_SMTP, ERR_GREETING_REFUSED},
    {"5##", GREETING_SMTP, ERR_GREETING_REFUSED},
    {"* OK", GREETING_IMAP, 0}, /* RFC 3501 7.1 */
    {"* BYE", GREETING_IMAP, ERR_GREETING_REFUSED},
    {"* PREAUTH", GREETING_IMAP, ERR_GREETING_PREAUTH},
    {"+OK", GREETING_POP3, 0}, /* RFC 1939 3 */
    {"-ERR", GREETING_POP3, ERR_GREETING_REFUSED},
    {"200", GREETING_NNTP, 0}, /* RFC 3977 5.1 */
    {"201", GREETING_NNTP, 0},
    {"###", GREETING_NNTP, ERR_GREETING_REFUSED},
};

/* Only these have replies of several lines: all but the last have a hyphen behind the number. */
static bool has_long_replies(enum greeting kind) {
    return kind == GREETING_SMTP;
}

static bool byte_fits(uint8_t byte, char want) {
    bool lower = byte >= 'a' && byte <= 'z';
    return want == '#' ? byte >= '0' && byte <= '9' : (lower ? byte - 'a' + 'A' : byte) == want;
}

static bool ends_word(enum greeting kind, uint8_t byte) {
    return byte == ' ' || byte == '\r' || byte == '\n' || (byte == '-' && has_long_replies(kind));
}

/* STEP_WANT_READ: it fits as far as it goes. */
static enum step opening_fits(const struct opening *o, struct span line) {
    size_t len = strlen(o->text);
    for (size_t i = 0; i < MIN(len, line.len); i++)
        if (!byte_fits(line.p[i], o->text[i]))
            return STEP_FAILED;
    if (line.len <= len)
        return STEP_WANT_READ;
    return ends_word(o->kind, line.p[len]) ? STEP_DONE : STEP_FAILED;
}

/* STEP_FAILED: no line of this protocol begins like that. */
static enum step read_opening(enum greeting kind, struct span line, int *ret_err) {
    enum step result = STEP_FAILED;
    for (size_t i = 0; i < ARRAY_LEN(openings); i++) {
        enum step step = openings[i].kind == kind ? opening_fits(&openings[i], line) : STEP_FAILED;
        if (step == STEP_DONE) {
            *ret_err = openings[i].err;
            return step;
        }
        if (step == STEP_WANT_READ)
            result = step;
    }
    return result;
}

static enum step refuse_greeting(int err, size_t len, struct greeting_end *ret) {
    *ret = (struct greeting_end){.len = len, .err = err};
    return STEP_FAILED;
}

enum step greeting_read(enum greeting kind, struct span bytes, struct greeting_end *ret) {
    const size_t max = MIN(bytes.len, (size_t)GREETING_MAX);
    if (max == 0)
        return STEP_WANT_READ;
    for (size_t at = 0;;) {
        struct span line = span_of(bytes.p + at, max - at);
        int err = 0;
        enum step step = read_opening(kind, line, &err);
        bool same_code = at == 0 || memcmp(line.p, bytes.p, MIN(line.len, (size_t)CODE_LEN)) == 0;
        if (step == STEP_FAILED || !same_code)
            return refuse_greeting(ERR_GREETING_FORMAT, 0, ret);
        const uint8_t *end = line.len ? memchr(line.p, '\n', line.len) : NULL;
        if (step == STEP_WANT_READ || !end)
            return max < GREETING_MAX ? STEP_WANT_READ : refuse_greeting(ERR_GREETING_TOO_LONG, 0, ret);
        at = (size_t)(end - bytes.p) + 1;
        if (has_long_replies(kind) && line.p[CODE_LEN] == '-')
            continue;
        if (err)
            return refuse_greeting(err, err == ERR_GREETING_REFUSED ? at : 0, ret);
        *ret = (struct greeting_end){.len = at};
        return STEP_DONE;
    }
}
