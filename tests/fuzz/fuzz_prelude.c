/*
 * Arbitrary clients before TLS, through every machine: the first byte selects it, the second how the bytes are cut. Beside
 * memory safety: the bounds hold, no answer is longer than its room, and neither verdict nor answers depend on the cut.
 */
#include <string.h>

#include "base/err.h"
#include "prelude/prelude.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    int verdict;
    size_t taken, answered;
    uint8_t answers[PRELUDE_UNITS_MAX * PRELUDE_ANSWER_MAX];
};

static void converse(uint8_t protocol, struct span said, size_t step, struct outcome *ret) {
    struct prelude p = {.protocol = protocol, .greeted = prelude_protocol(protocol)->greeting != NULL};
    size_t here = 0;
    ret->taken = ret->answered = 0;
    do {
        here = MIN(here + step, said.len);
        do {
            uint8_t room[PRELUDE_ANSWER_MAX];
            struct wr w = wr_of(room, sizeof(room));
            size_t taken = 0;
            ret->verdict = prelude_step(&p, span_of(said.p + ret->taken, here - ret->taken), &w, &taken);
            MUST(wr_end(&w) && taken <= here - ret->taken);
            MUST(ret->answered + w.len <= sizeof(ret->answers));
            memcpy(ret->answers + ret->answered, room, w.len);
            ret->answered += w.len;
            ret->taken += taken;
            MUST(ret->taken <= PRELUDE_IN_MAX && p.units <= PRELUDE_UNITS_MAX && p.taken == ret->taken);
            MUST(taken > 0 || ret->verdict != PRELUDE_ANSWERED);
        } while (ret->verdict == PRELUDE_ANSWERED);
    } while (ret->verdict == PRELUDE_MORE && here < said.len);
    MUST(ret->verdict != PRELUDE_MORE || here - ret->taken < PRELUDE_IN_MAX);
    if (ret->verdict < 0) {
        uint8_t room[PRELUDE_ANSWER_MAX];
        struct wr w = wr_of(room, sizeof(room));
        MUST(err_known(ret->verdict));
        prelude_last_words(&p, ret->verdict, &w);
        MUST(wr_end(&w));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct outcome whole, cut;
    if (size < 2)
        return 0;
    uint8_t protocol = (uint8_t)(1 + data[0] % (STARTTLS_KINDS - 1));
    struct span said = span_of(data + 2, size - 2);
    converse(protocol, said, said.len + 1, &whole);
    converse(protocol, said, 1 + data[1] % 32, &cut);
    MUST(whole.verdict == cut.verdict && whole.taken == cut.taken && whole.answered == cut.answered);
    MUST(memcmp(whole.answers, cut.answers, whole.answered) == 0);
    return 0;
}
