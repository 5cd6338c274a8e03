/*
 * See lines.h. A unit is a line that ends with CRLF; a bare CR or LF, a zero byte or another control character is no part of
 * one, so that nobody can see two commands where we see one. Answers are fixed texts. The one thing of the client's that is
 * said again is an IMAP tag, without which no client finds its answer: bounded, and of the letters that a tag may have.
 */
#include "prelude/lines.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"

#define TAG_MAX 64
#define TAG     "\1" /* in an answer: the command's tag */

enum line_args { NO_ARGS, SOME_ARGS, ANY_ARGS };

struct line_command {
    const char *verb; /* in any case */
    enum line_args args;
    int verdict; /* as take() gives it */
    const char *answer;
};

struct line_dialect {
    bool tagged;                         /* a tag stands in front of the verb */
    bool has_literals;                   /* a line may end with "{5}": bytes follow that are no line */
    const struct line_command *commands; /* the last has no verb: any other */
    const char *wrong_args;
    const char *fault;  /* last words to what is no line, or is behind the go-ahead's command */
    const char *enough; /* last words when time or a limit is over */
};

static bool is_control(uint8_t c) {
    return c < 0x20 || c == 0x7f;
}

static enum step line_cut(struct span in, size_t *ret_len) {
    for (size_t i = 0; i < in.len; i++) {
        if (!is_control(in.p[i]) || in.p[i] == '\t')
            continue;
        if (in.p[i] != '\r')
            return STEP_FAILED;
        if (i + 1 == in.len)
            return STEP_WANT_READ;
        *ret_len = i + 2;
        return in.p[i + 1] == '\n' ? STEP_DONE : STEP_FAILED;
    }
    return STEP_WANT_READ;
}

/* The next word of LINE, and the spaces behind it. */
static struct span take_word(struct span *line) {
    size_t n = 0, next;
    while (n < line->len && line->p[n] != ' ')
        n++;
    for (next = n; next < line->len && line->p[next] == ' ';)
        next++;
    struct span word = span_of(line->p, n);
    *line = span_of(line->p + next, line->len - next);
    return word;
}

/* RFC 9051 9: any ASTRING-CHAR but "+". */
static bool is_tag(struct span s) {
    if (s.len == 0 || s.len > TAG_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("(){%*\"\\+", s.p[i]))
            return false;
    return true;
}

/* Whether the line's end announces bytes ("{12}"), and whether they come without being asked for ("{12+}"). */
static bool ends_with_literal(struct span line, bool *ret_follows) {
    size_t i = line.len;
    if (i == 0 || line.p[--i] != '}')
        return false;
    *ret_follows = i > 0 && (line.p[i - 1] == '+' || line.p[i - 1] == '-');
    i -= *ret_follows;
    size_t digits = 0;
    while (i > 0 && line.p[i - 1] >= '0' && line.p[i - 1] <= '9') {
        i--;
        digits++;
    }
    return digits && i > 0 && line.p[i - 1] == '{';
}

static void put_tagged(struct wr *w, const char *text, struct span tag) {
    for (const char *s = text; *s; s++)
        if (*s == TAG[0])
            wr_span(w, tag);
        else
            wr_u8(w, (uint8_t)*s);
}

static const struct line_command *find_command(const struct line_dialect *d, struct span verb) {
    const struct line_command *c = d->commands;
    while (c->verb && !(strlen(c->verb) == verb.len && strncasecmp(c->verb, (const char *)verb.p, verb.len) == 0))
        c++;
    return c;
}

static int line_take(struct prelude *p, struct span unit, struct wr *answer) {
    const struct line_dialect *d = prelude_protocol(p->protocol)->lines;
    struct span line = span_of(unit.p, unit.len - 2), tag = {NULL, 0};
    while (line.len && (line.p[line.len - 1] == ' ' || line.p[line.len - 1] == '\t'))
        line.len--;
    bool follows = false, literal = d->has_literals && ends_with_literal(line, &follows);
    if (follows && literal)
        return ERR_STARTTLS_MALFORMED;
    if (d->tagged) {
        tag = take_word(&line);
        if (!is_tag(tag))
            tag = span_str("*"), line = span_str("");
    }
    struct span verb = take_word(&line);
    const struct line_command *c = find_command(d, verb);
    bool args_fit = c->args == ANY_ARGS || (c->args == SOME_ARGS) == (line.len > 0);
    if (literal || !args_fit) {
        put_tagged(answer, d->wrong_args, tag);
        return PRELUDE_ANSWERED;
    }
    put_tagged(answer, c->answer, tag);
    return c->verdict;
}

static void line_last_words(const struct prelude *p, int reason, struct wr *answer) {
    const struct line_dialect *d = prelude_protocol(p->protocol)->lines;
    bool their_fault = reason == ERR_STARTTLS_MALFORMED || reason == ERR_STARTTLS_INJECTION;
    put_tagged(answer, their_fault ? d->fault : d->enough, span_str(""));
}

#define LINE_MACHINE .cut = line_cut, .take = line_take, .last_words = line_last_words

/* ---- SMTP submission and LMTP: RFC 3207 4 lets NOOP, EHLO and QUIT come first, RFC 2033 the same with LHLO ---- */

#define SMTP_COMMANDS                                                                                                          \
    {"STARTTLS", NO_ARGS, PRELUDE_GO, "220 2.0.0 Ready to start TLS\r\n"},                                                     \
        {"NOOP", ANY_ARGS, PRELUDE_ANSWERED, "250 2.0.0 OK\r\n"}, {"RSET", NO_ARGS, PRELUDE_ANSWERED, "250 2.0.0 OK\r\n"},     \
        {"QUIT", NO_ARGS, ERR_STARTTLS_QUIT, "221 2.0.0 Bye\r\n"}, {                                                           \
        NULL, ANY_ARGS, PRELUDE_ANSWERED, "530 5.7.0 Must issue a STARTTLS command first\r\n"                                  \
    }

static const struct line_command smtp_commands[] = {
    {"EHLO", SOME_ARGS, PRELUDE_ANSWERED, "250-tls-off\r\n250 STARTTLS\r\n"},
    {"HELO", SOME_ARGS, PRELUDE_ANSWERED, "250 tls-off\r\n"},
    SMTP_COMMANDS,
};

static const struct line_command lmtp_commands[] = {
    {"LHLO", SOME_ARGS, PRELUDE_ANSWERED, "250-tls-off\r\n250 STARTTLS\r\n"},
    {"EHLO", ANY_ARGS, PRELUDE_ANSWERED, "500 5.5.1 This is LMTP\r\n"},
    {"HELO", ANY_ARGS, PRELUDE_ANSWERED, "500 5.5.1 This is LMTP\r\n"},
    SMTP_COMMANDS,
};

#define SMTP_DIALECT                                                                                                           \
    .wrong_args = "501 5.5.4 Syntax error in parameters\r\n", .fault = "554 5.5.0 Not allowed before TLS\r\n",                 \
    .enough = "421 4.7.0 Closing: no STARTTLS in time\r\n"

static const struct line_dialect smtp_dialect = {.commands = smtp_commands, SMTP_DIALECT};
static const struct line_dialect lmtp_dialect = {.commands = lmtp_commands, SMTP_DIALECT};

const struct prelude_protocol prelude_smtp = {
    .name = "smtp",
    .greeting = "220 tls-off ESMTP\r\n",
    .greets_once = true,
    LINE_MACHINE,
    .lines = &smtp_dialect,
};

const struct prelude_protocol prelude_lmtp = {
    .name = "lmtp",
    .greeting = "220 tls-off LMTP\r\n",
    .greets_once = true,
    LINE_MACHINE,
    .lines = &lmtp_dialect,
};

/* ---- IMAP: RFC 9051 6.2.1 and 11.1; PRIVACYREQUIRED is RFC 5530 ---- */

#define IMAP_CAPABILITIES "IMAP4rev1 ID STARTTLS LOGINDISABLED"
#define IMAP_NO_LOGIN     TAG " NO [PRIVACYREQUIRED] STARTTLS is required first\r\n"

static const struct line_command imap_commands[] = {
    {"CAPABILITY", NO_ARGS, PRELUDE_ANSWERED, "* CAPABILITY " IMAP_CAPABILITIES "\r\n" TAG " OK done\r\n"},
    {"NOOP", NO_ARGS, PRELUDE_ANSWERED, TAG " OK done\r\n"},
    {"ID", SOME_ARGS, PRELUDE_ANSWERED, "* ID NIL\r\n" TAG " OK done\r\n"},
    {"STARTTLS", NO_ARGS, PRELUDE_GO, TAG " OK begin TLS\r\n"},
    {"LOGIN", ANY_ARGS, PRELUDE_ANSWERED, IMAP_NO_LOGIN},
    {"AUTHENTICATE", ANY_ARGS, PRELUDE_ANSWERED, IMAP_NO_LOGIN},
    {"LOGOUT", NO_ARGS, ERR_STARTTLS_QUIT, "* BYE\r\n" TAG " OK done\r\n"},
    {NULL, ANY_ARGS, PRELUDE_ANSWERED, TAG " BAD not before STARTTLS\r\n"},
};

static const struct line_dialect imap_dialect = {
    .tagged = true,
    .has_literals = true,
    .commands = imap_commands,
    .wrong_args = TAG " BAD wrong arguments\r\n",
    .fault = "* BYE not allowed before TLS\r\n",
    .enough = "* BYE no STARTTLS in time\r\n",
};

const struct prelude_protocol prelude_imap = {
    .name = "imap",
    .greeting = "* OK [CAPABILITY " IMAP_CAPABILITIES "] tls-off ready\r\n",
    .greets_once = true,
    LINE_MACHINE,
    .lines = &imap_dialect,
};

/* ---- POP3: RFC 2595 4, RFC 2449 5. No timestamp in the greeting, so no APOP ---- */

static const struct line_command pop3_commands[] = {
    {"CAPA", NO_ARGS, PRELUDE_ANSWERED, "+OK\r\nSTLS\r\n.\r\n"},
    {"STLS", NO_ARGS, PRELUDE_GO, "+OK begin TLS\r\n"},
    {"QUIT", NO_ARGS, ERR_STARTTLS_QUIT, "+OK\r\n"},
    {NULL, ANY_ARGS, PRELUDE_ANSWERED, "-ERR STLS is required first\r\n"},
};

static const struct line_dialect pop3_dialect = {
    .commands = pop3_commands,
    .wrong_args = "-ERR wrong arguments\r\n",
    .fault = "-ERR not allowed before TLS\r\n",
    .enough = "-ERR no STLS in time\r\n",
};

const struct prelude_protocol prelude_pop3 = {
    .name = "pop3",
    .greeting = "+OK tls-off ready\r\n",
    .greets_once = true,
    LINE_MACHINE,
    .lines = &pop3_dialect,
};

/* ---- ManageSieve: RFC 5804 1.7, 2.2. A NOOP with a string wants it back, and is refused ---- */

#define SIEVE_CAPABILITIES                                                                                                     \
    "\"IMPLEMENTATION\" \"tls-off\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK\r\n"

static const struct line_command sieve_commands[] = {
    {"CAPABILITY", NO_ARGS, PRELUDE_ANSWERED, SIEVE_CAPABILITIES},
    {"NOOP", NO_ARGS, PRELUDE_ANSWERED, "OK\r\n"},
    {"STARTTLS", NO_ARGS, PRELUDE_GO, "OK \"begin TLS\"\r\n"},
    {"LOGOUT", NO_ARGS, ERR_STARTTLS_QUIT, "OK\r\n"},
    {NULL, ANY_ARGS, PRELUDE_ANSWERED, "NO (ENCRYPT-NEEDED) \"STARTTLS is required first\"\r\n"},
};

static const struct line_dialect sieve_dialect = {
    .has_literals = true,
    .commands = sieve_commands,
    .wrong_args = "NO \"wrong arguments\"\r\n",
    .fault = "BYE \"not allowed before TLS\"\r\n",
    .enough = "BYE \"no STARTTLS in time\"\r\n",
};

const struct prelude_protocol prelude_sieve = {
    .name = "sieve",
    .greeting = SIEVE_CAPABILITIES,
    LINE_MACHINE,
    .lines = &sieve_dialect,
};

/* ---- NNTP: RFC 4642 2; 483 is RFC 4643 2.2.2 ---- */

static const struct line_command nntp_commands[] = {
    {"CAPABILITIES", ANY_ARGS, PRELUDE_ANSWERED, "101 Capability list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"},
    {"STARTTLS", NO_ARGS, PRELUDE_GO, "382 Begin TLS\r\n"},
    {"QUIT", NO_ARGS, ERR_STARTTLS_QUIT, "205 Bye\r\n"},
    {NULL, ANY_ARGS, PRELUDE_ANSWERED, "483 STARTTLS is required first\r\n"},
};

static const struct line_dialect nntp_dialect = {
    .commands = nntp_commands,
    .wrong_args = "501 Wrong arguments\r\n",
    .fault = "400 Not allowed before TLS\r\n",
    .enough = "400 No STARTTLS in time\r\n",
};

const struct prelude_protocol prelude_nntp = {
    .name = "nntp",
    .greeting = "200 tls-off ready\r\n",
    .greets_once = true,
    LINE_MACHINE,
    .lines = &nntp_dialect,
};
