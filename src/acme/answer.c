#include "acme/answer.h"

#include <string.h>

#include "base/defs.h"

#define PREFIX            "urn:ietf:params:acme:error:"
#define WORDS_MAX         400
#define SUBPROBLEMS_SHOWN 3

const char *answer_problem(const json_t *problem) {
    const char *type = json_string_value(json_object_get(problem, "type"));
    return type && strncmp(type, PREFIX, sizeof(PREFIX) - 1) == 0 ? type + sizeof(PREFIX) - 1 : "";
}

static bool is_one_of(const char *s, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(s, list[i]) == 0)
            return true;
    return false;
}

/* An answer that is "unauthorized" is about our account (RFC 8555 7.3.6, 7.3.4); a part of an order is about a validation. */
static bool is_about_names(const char *type, bool of_answer) {
    static const char *const types[] = {"caa", "connection",           "dns", "incorrectResponse", "rejectedIdentifier",
                                        "tls", "unsupportedIdentifier"};
    return is_one_of(type, types, ARRAY_LEN(types)) || (!of_answer && strcmp(type, "unauthorized") == 0);
}

static bool are_all_about_names(const json_t *subproblems) {
    size_t n = json_array_size(subproblems);
    for (size_t i = 0; i < n; i++)
        if (!is_about_names(answer_problem(json_array_get(subproblems, i)), false))
            return false;
    return n > 0;
}

/* Whatever was asked for, the account would be refused. With parts, or an identifier, it is about what was asked for. */
static bool is_about_account(const json_t *problem, unsigned status) {
    static const char *const types[] = {"accountDoesNotExist",     "badPublicKey", "badSignatureAlgorithm",
                                        "externalAccountRequired", "unauthorized", "userActionRequired"};
    bool of_names = json_array_size(json_object_get(problem, "subproblems")) || json_object_get(problem, "identifier");
    return status && !of_names && (status == 401 || is_one_of(answer_problem(problem), types, ARRAY_LEN(types)));
}

enum fault answer_fault(const json_t *problem, unsigned status) {
    static const char *const passing[] = {"badNonce", "rateLimited", "serverInternal"};
    const char *type = answer_problem(problem);
    if (is_about_names(type, status != 0) || are_all_about_names(json_object_get(problem, "subproblems")))
        return FAULT_NAMES;
    bool refused = status >= 400 && status < 500 && status != 408 && status != 429;
    if (is_one_of(type, passing, ARRAY_LEN(passing)) || (status && !refused))
        return FAULT_ISSUER;
    return is_about_account(problem, status) ? FAULT_COMMON : FAULT_ANSWER;
}

void answer_add_words(struct text *t, const char *s) {
    char words[WORDS_MAX + 1];
    struct text w = text_of(words, sizeof(words));
    text_add(&w, s);
    text_mark_cut(&w);
    for (size_t i = 0; i < w.len; i++)
        if ((unsigned char)words[i] < ' ' || words[i] == 0x7f)
            words[i] = ' ';
    text_add(t, words);
}

static void add_one(struct text *t, const json_t *problem) {
    const char *type = answer_problem(problem), *detail = json_string_value(json_object_get(problem, "detail"));
    if (!detail)
        detail = json_string_value(json_object_get(problem, "title")); /* RFC 7807 3.1 */
    text_add(t, type[0] ? ", " : "");
    answer_add_words(t, type);
    text_add(t, detail ? ": " : "");
    answer_add_words(t, detail ? detail : "");
}

void answer_add_problem(struct text *t, const json_t *problem) {
    const json_t *subproblems = json_object_get(problem, "subproblems");
    size_t n = json_array_size(subproblems);
    add_one(t, problem);
    for (size_t i = 0; i < MIN(n, (size_t)SUBPROBLEMS_SHOWN); i++) {
        const json_t *sub = json_array_get(subproblems, i);
        const char *name = json_string_value(json_object_get(json_object_get(sub, "identifier"), "value"));
        text_add(t, i ? "; " : " (");
        answer_add_words(t, name ? name : "a name");
        add_one(t, sub);
    }
    if (n > SUBPROBLEMS_SHOWN)
        text_addf(t, "; and %zu more", n - SUBPROBLEMS_SHOWN);
    text_add(t, n ? ")" : "");
}
