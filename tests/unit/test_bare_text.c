/* What was probably meant: keys that are none, and texts that lack their quotes. */
#include "conf/bare_text.h"

#include "conf_support.h"

#define SERVICE "[service.a]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n" /* lines 1 to 3 */

static const struct {
    const char *toml;
    const char *lines; /* of errors: their beginning */
} table[] = {
    /* the nearest key: here by one edit or by a part of its name, then the same elsewhere, then what is somewhat like it here
     */
    {"[admin]\nmode = \"0600\"\ngroup = \"x\"\nowner = \"x\"\n" SERVICE,
     "t.toml:2:1: admin.mode: found an unknown key, expected \"socket_mode\"\n"
     "t.toml:3:1: admin.group: found an unknown key, expected \"socket_group\"\n"
     "t.toml:4:1: admin.owner: found an unknown key, expected \"socket_owner\"\n"},
    {SERVICE "[service.a.timeout]\nidle = \"3s\"\n",
     "t.toml:4:12: service.a.timeout: found an unknown key, expected \"timeouts\"\n"},
    {SERVICE "timeout = \"3s\"\n", "t.toml:4:1: service.a.timeout: found an unknown key, expected \"timeouts\"\n"},
    {"timeout = \"3s\"\n" SERVICE, "t.toml:1:1: timeout: found an unknown key, expected \"drain_timeout\"\n"},
    {SERVICE "[service.a.timeouts]\nlisten = [\"x\"]\n",
     "t.toml:5:1: service.a.timeouts.listen: found an unknown key, expected \"listen\" in [service.NAME]\n"},
    /* texts without their quotes */
    {"workers = auto\n", "t.toml:1:11: workers: found auto, expected an integer\n"},
    {"user = tls-off # root\n", "t.toml:1:8: user: found tls-off, expected a text in quotes, \"tls-off\"\n"},
    {"[admin]\nsocket_mode=0600\n", "t.toml:2:13: admin.socket_mode: found 0600, expected a text in quotes, \"0600\"\n"},
    {SERVICE "mode=passthrough\n",
     "t.toml:4:6: service.a.mode: found passthrough, expected \"terminate\" or \"passthrough\"\n"},
    {SERVICE "strict_sni = True\n", "t.toml:4:14: service.a.strict_sni: found True, expected true or false\n"},
    {SERVICE "[service.a.timeouts]\nidle=10s\n",
     "t.toml:5:6: service.a.timeouts.idle: found 10s, expected a text in quotes, \"10s\"\n"},
    {SERVICE "[service.a.access] # who\r\ndeny = [\"10.0.0.1\", 10.0.0.0/8]\r\n",
     "t.toml:5:21: service.a.access.deny: found 10.0.0.0/8, expected a text in quotes, \"10.0.0.0/8\"\n"},
    {SERVICE "client_auth = { depth = 1, mode = required }\n",
     "t.toml:4:35: service.a.client_auth.mode: found required, expected \"none\", \"optional\" or \"required\"\n"},
    {"[service.a]\nlisten = [\n  \"127.0.0.1:7\",\n  127.0.0.1:8\n]\n",
     "t.toml:4:3: found 127.0.0.1:8, expected a text in quotes, \"127.0.0.1:8\"\n"},
    {"[listener.\"127.0.0.1:7\"]\nfallback = web",
     "t.toml:2:12: listener.\"127.0.0.1:7\".fallback: found web, expected a text in quotes, \"web\"\n"},
    {"[log]\nlevel = \"inf\n", "t.toml:2:13: error while parsing string"},
    {"[log]\nlevel\n", "t.toml:2:6: error while parsing key-value pair"},
};

static void test_what_was_meant_is_said(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct diagnostics f;
        diagnostics_init(&f);
        assert_null(load_text(table[i].toml, strlen(table[i].toml), &f));
        if (strncmp(f.text, table[i].lines, strlen(table[i].lines)) != 0)
            fail_msg("%s\n-- gave:\n%s-- instead of:\n%s\n", table[i].toml, f.text, table[i].lines);
        diagnostics_fini(&f);
    }
}

/* Wherever the library says that it is, at the ends of the text too: looked for within it, and no key without its line. */
static void test_every_place_of_a_fault(void **state) {
    static const char text[] = "a = b\n[x.\"y\"]\n= c\n d=[e,=f]\n\n#g\nh";
    for (size_t len = 0; len < sizeof(text); len++)
        for (uint32_t line = 0; line < 10; line++)
            for (uint32_t column = 0; column < 14; column++) {
                struct toml_fault fault = {{line, column}, "error while parsing value: x"};
                struct bare_text b;
                char *copy = malloc(len + 1); /* its end is seen by a sanitizer */
                assert_non_null(copy);
                memcpy(copy, text, len);
                copy = realloc(copy, len ? len : 1);
                if (bare_text_find(copy, len, &fault, &b)) {
                    assert_int_equal(b.at.line, line);
                    assert_true(b.at.column >= 1 && b.word[0]);
                }
                free(copy);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_meant_is_said),
        cmocka_unit_test(test_every_place_of_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
