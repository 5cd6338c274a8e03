/* Arguments of commands, read by a row of a table: what is taken, and what is said about the rest. */
#include "cli/arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/command_table.h"

#define MOST 16

static const struct command_flag flags[] = {{"--config", FLAG_PATH, NULL},
                                            {"--sort", FLAG_TEXT, "bytes rate client"},
                                            {"--limit", FLAG_TEXT, NULL},
                                            {"--json", FLAG_ALONE, NULL},
                                            {NULL, FLAG_ALONE, NULL}};
static const struct command_flag no_flags[] = {{NULL, FLAG_ALONE, NULL}};
static const struct command_operands none = {0, 0, NULL, NULL, false}, one = {1, 1, "CLIENT", NULL, false},
                                     verb = {2, 3, "FILE", "new old renewed", false};

static struct arguments a;
static char words[MOST][64], said[2048];

/* LIST: texts apart by '|'. What is said goes to SAID. */
static bool read_args(const struct command_operands *operands, const struct command_flag *of, const char *list) {
    static const char usage[] = "usage: u\n";
    static struct command c;
    char *argv[MOST + 1] = {NULL};
    int argc = 0;
    c = (struct command){"name", COMMANDS_VIEW, NULL, "help", usage, operands, of};
    for (const char *at = list; *list && at; argc++) {
        const char *end = strchr(at, '|');
        snprintf(words[argc], sizeof(words[argc]), "%.*s", end ? (int)(end - at) : (int)strlen(at), at);
        argv[argc] = words[argc];
        at = end ? end + 1 : NULL;
    }
    FILE *to = tmpfile();
    assert_non_null(to);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && dup2(fileno(to), STDERR_FILENO) >= 0);
    bool ok = arguments_read(&a, &c, argc, argv);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    rewind(to);
    said[fread(said, 1, sizeof(said) - 1, to)] = 0;
    fclose(to);
    return ok;
}

static void assert_takes(const struct command_operands *operands, const char *list, const char *wanted) {
    char got[512] = "";
    assert_true(read_args(operands, flags, list));
    assert_string_equal(said, "");
    for (size_t i = 0; i < a.n; i++) {
        const struct argument *x = &a.list[i];
        size_t len = strlen(got);
        snprintf(got + len, sizeof(got) - len, "%s%s%s%s", i ? " " : "", x->flag ? x->flag : "", x->flag && x->value ? ":" : "",
                 x->value ? x->value : "");
    }
    assert_string_equal(got, wanted);
    arguments_fini(&a);
}

static void what_is_taken(void **state) {
    (void)state;
    assert_takes(&none, "", "");
    assert_takes(&none, "--json", "--json");
    assert_takes(&none, "--limit|5|--json", "--limit:5 --json");
    assert_takes(&none, "--limit=5", "--limit:5");
    assert_takes(&none, "--limit=", "--limit:");
    assert_takes(&none, "--limit|", "--limit:");
    assert_takes(&none, "--limit=a=b", "--limit:a=b");
    assert_takes(&none, "--limit|-1", "--limit:-1"); /* a value is a value */
    assert_takes(&none, "--limit|--json", "--limit:--json");
    assert_takes(&none, "--sort=rate|--sort|bytes", "--sort:rate --sort:bytes");
    assert_takes(&none, "-c|f", "--config:f");
    assert_takes(&none, "-c=f", "--config:f");
    assert_takes(&none, "--", "");
    assert_takes(&one, "-", "-");
    assert_takes(&one, "--json||--limit=1", "--json  --limit:1"); /* an empty one is one */
    assert_takes(&one, "--json|x|--limit|1", "--json x --limit:1");
    assert_takes(&one, "--|--json", "--json");
    assert_takes(&verb, "old|f|--json|g", "old f --json g");
    assert_takes(&verb, "renewed|--|--", "renewed --");
}

static void assert_refused(const struct command_operands *operands, const struct command_flag *of, const char *list,
                           const char *line) {
    char wanted[512];
    assert_false(read_args(operands, of, list));
    arguments_fini(&a);
    snprintf(wanted, sizeof(wanted), "tls-off name: %s\nusage: u\n", line);
    assert_string_equal(said, wanted);
}

static void what_is_refused(void **state) {
    (void)state;
    assert_refused(&none, flags, "--jsno", "--jsno: found an unknown flag, expected --json");
    assert_refused(&none, flags, "--JSON=1", "--JSON: found an unknown flag, expected --json");
    assert_refused(&none, flags, "--quite-another",
                   "--quite-another: found an unknown flag, expected --config, --sort, --limit, --json");
    assert_refused(&none, flags, "-j", "-j: found an unknown flag, expected --config, --sort, --limit, --json");
    assert_refused(&none, no_flags, "--json", "--json: found an unknown flag, expected none");
    assert_refused(&none, no_flags, "-c", "-c: found an unknown flag, expected none");
    assert_refused(&none, flags, "---", "---: found an unknown flag, expected --config, --sort, --limit, --json");
    assert_refused(&none, flags, "--=", "--: found an unknown flag, expected --config, --sort, --limit, --json");
    assert_refused(&none, flags, "--json=yes", "--json: found \"yes\", expected no value");
    assert_refused(&none, flags, "--json|--limit", "--limit: expected a value behind it");
    assert_refused(&none, flags, "--sort|size", "--sort: found \"size\", expected bytes, rate or client");
    assert_refused(&none, flags, "--sort=", "--sort: found \"\", expected bytes, rate or client");
    assert_refused(&none, flags, "--sort=byte", "--sort: found \"byte\", expected bytes, rate or client");
    assert_refused(&none, flags, "--sort=bytes rate", "--sort: found \"bytes rate\", expected bytes, rate or client");
    assert_refused(&none, flags, "x", "found \"x\", expected nothing more");
    assert_refused(&one, flags, "--json", "expected CLIENT");
    assert_refused(&one, flags, "x|--json|y", "found \"y\", expected nothing more");
    assert_refused(&verb, flags, "--json", "expected new, old or renewed");
    assert_refused(&verb, flags, "renew|f", "found \"renew\", expected new, old or renewed");
    assert_refused(&verb, flags, "new", "expected FILE");
    assert_refused(&verb, flags, "new|f|g|h", "found \"h\", expected nothing more");
}

static void what_a_command_asks(void **state) {
    (void)state;
    assert_true(read_args(&verb, flags, "new|--limit|1|f|--limit=2|--json"));
    assert_string_equal(arguments_operand(&a, 0), "new");
    assert_string_equal(arguments_operand(&a, 1), "f");
    assert_null(arguments_operand(&a, 2));
    assert_string_equal(arguments_value(&a, "--limit"), "2");
    assert_null(arguments_value(&a, "--sort"));
    assert_true(arguments_has(&a, "--json"));
    assert_false(arguments_has(&a, "--config"));
    arguments_fini(&a);
}

/* Whatever the line holds, it stays one. */
static void long_texts_are_cut(void **state) {
    char text[64];
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    assert_false(read_args(&none, flags, text));
    arguments_fini(&a);
    assert_true(strlen(said) < 200 && strchr(said, '\n') == strstr(said, "\nusage: u\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(what_a_command_asks),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
