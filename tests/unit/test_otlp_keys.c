/* [otlp]: what is taken, and what is said about what is not. */
#include "conf_support.h"

#include "conf/otlp_keys.h"

#define SERVICE "[service.a]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n"
#define SHARE   "0, 1, or a share from 0.000001 to 0.999999\n"

static const struct {
    const char *toml, *line;
} wrong[] = {
    {"otlp.endpoint = \"127.0.0.1:4318/v1/traces\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"127.0.0.1:4318/v1/traces\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"ftp://a/b\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"ftp://a/b\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://a\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://a\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http:///x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http:///x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://a:0/x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://a:0/x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://a:65536/x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://a:65536/x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://a:/x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://a:/x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://u:p@a/x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://u:p@a/x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://[::1/x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://[::1/x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://[::1]x/y\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://[::1]x/y\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://a/x y\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://a/x y\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"http://a?x/y\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"http://a?x/y\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp.endpoint = \"HTTP://a/x\"\n" SERVICE,
     "t.toml:1:17: otlp.endpoint: found \"HTTP://a/x\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password\n"},
    {"otlp = { endpoint = \"http://[::1]:4318/v1/traces\", sample = 1.01 }\n" SERVICE,
     "t.toml:1:61: otlp.sample: found 1.01, expected " SHARE},
    {"otlp.sample = -1\n" SERVICE, "t.toml:1:15: otlp.sample: found -1, expected " SHARE},
    {"otlp.sample = 2\n" SERVICE, "t.toml:1:15: otlp.sample: found 2, expected " SHARE},
    {"otlp.sample = nan\n" SERVICE, "t.toml:1:15: otlp.sample: found nan, expected " SHARE},
    {"otlp.sample = inf\n" SERVICE, "t.toml:1:15: otlp.sample: found inf, expected " SHARE},
    {"otlp.sample = 1e-7\n" SERVICE, "t.toml:1:15: otlp.sample: found 1e-07, expected " SHARE},
    {"otlp.sample = 5e-7\n" SERVICE, "t.toml:1:15: otlp.sample: found 5e-07, expected " SHARE},
    {"otlp.sample = -1e-7\n" SERVICE, "t.toml:1:15: otlp.sample: found -1e-07, expected " SHARE},
    {"otlp.sample = 5e-324\n" SERVICE, "t.toml:1:15: otlp.sample: found 4.94065645841247e-324, expected " SHARE},
    {"otlp.sample = 0.9999999\n" SERVICE, "t.toml:1:15: otlp.sample: found 0.9999999, expected " SHARE},
    {"otlp.sample = \"all\"\n" SERVICE,
     "t.toml:1:15: otlp.sample: found \"all\", expected a number with a point or an integer\n"},
    {"otlp = { endpoint = \"http://a/b\", timeout = \"none\" }\n" SERVICE,
     "t.toml:1:45: otlp.timeout: found \"none\", expected a duration from \"100ms\" to \"60s\"\n"},
    {"otlp = { endpoint = \"http://a/b\", timeout = \"2m\" }\n" SERVICE,
     "t.toml:1:45: otlp.timeout: found \"2m\", expected a duration from \"100ms\" to \"60s\"\n"},
    {"otlp = { endpoint = \"http://a/b\", service_name = \"\" }\n" SERVICE,
     "t.toml:1:50: otlp.service_name: found an empty name, expected what this proxy is called among your services\n"},
};

static void each_wrong_value_is_reported(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct diagnostics f;
        diagnostics_init(&f);
        assert_null(load_text(wrong[i].toml, strlen(wrong[i].toml), &f));
        if (!f.text || !strstr(f.text, wrong[i].line))
            print_error("%s-- gave:\n%s-- instead of:\n%s\n", wrong[i].toml, f.text ? f.text : "", wrong[i].line);
        assert_true(f.text && strstr(f.text, wrong[i].line) && f.errors == 1);
        diagnostics_fini(&f);
    }
}

static const struct conf *loaded(const char *toml, struct diagnostics *f) {
    diagnostics_init(f);
    struct conf *c = load_text(toml, strlen(toml), f);
    assert_non_null(c);
    return c;
}

static void values_and_their_defaults(void **state) {
    struct diagnostics f;
    const struct conf *c = loaded(SERVICE, &f);
    assert_true(!c->otlp.endpoint && c->otlp.timeout_ms == 10000 && c->otlp.sample_ppm == CONF_OTLP_SAMPLE_ALL);
    assert_string_equal(c->otlp.service_name, "tls-off");
    conf_free((struct conf *)(uintptr_t)c);
    diagnostics_fini(&f);
    c = loaded("[otlp]\nendpoint = \"https://a/b\"\nsample = 0.000001\ntimeout = \"1m\"\nservice_name = \"edge\"\n" SERVICE,
               &f);
    assert_true(c->otlp.sample_ppm == 1 && c->otlp.timeout_ms == 60000);
    assert_string_equal(c->otlp.service_name, "edge");
    conf_free((struct conf *)(uintptr_t)c);
    diagnostics_fini(&f);
    c = loaded("otlp.sample = 0\n" SERVICE, &f);
    assert_int_equal(c->otlp.sample_ppm, 0);
    assert_non_null(strstr(f.text, "otlp.sample: has no effect without \"otlp.endpoint\""));
    conf_free((struct conf *)(uintptr_t)c);
    diagnostics_fini(&f);
}

static void endpoints_have_parts(void **state) {
    static const struct {
        const char *url, *scheme, *host;
        uint16_t port;
    } good[] = {
        {"http://127.0.0.1:4318/v1/traces", "http", "127.0.0.1", 4318},
        {"https://otlp.example.org/v1/traces?key=a@b", "https", "otlp.example.org", 443},
        {"http://collector/", "http", "collector", 80},
        {"https://[2001:db8::1]:65535/x", "https", "2001:db8::1", 65535},
        {"http://[::1]/x", "http", "::1", 80},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct otlp_endpoint e;
        assert_true(otlp_endpoint_parse(good[i].url, &e));
        assert_string_equal(e.scheme, good[i].scheme);
        assert_string_equal(e.host, good[i].host);
        assert_int_equal(e.port, good[i].port);
    }
}

static void a_share_is_kept_in_parts_of_a_million(void **state) {
    static const struct {
        const char *share;
        uint32_t ppm;
    } good[] = {{"0", 0},        {"-0.0", 0},      {"0.000001", 1},      {"0.0000014", 1}, {"0.000002", 2},
                {"0.1", 100000}, {"0.29", 290000}, {"0.999999", 999999}, {"1", 1000000},   {"1.0", 1000000}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char toml[256];
        struct text t = text_of(toml, sizeof(toml));
        text_addf(&t, "otlp = { endpoint = \"http://127.0.0.1/x\", sample = %s }\n" SERVICE, good[i].share);
        struct diagnostics f;
        diagnostics_init(&f);
        struct conf *c = load_text(toml, t.len, &f);
        assert_non_null(c);
        assert_int_equal(c->otlp.sample_ppm, good[i].ppm);
        conf_free(c);
        diagnostics_fini(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wrong_value_is_reported),
        cmocka_unit_test(values_and_their_defaults),
        cmocka_unit_test(endpoints_have_parts),
        cmocka_unit_test(a_share_is_kept_in_parts_of_a_million),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
