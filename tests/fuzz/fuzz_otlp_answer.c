/* Arbitrary bytes as a collector's answer: a status in the first two, then the body. */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "exporter/otlp_answer.h"
#include "wire/server_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char line[SERVER_WHY_MAX + 1];
    struct text why = text_of(line, sizeof(line));
    uint32_t refused = UINT32_MAX;
    if (size < 2)
        return 0;
    struct http_out_answer a = {
        .status = (unsigned)(data[0] << 8 | data[1]) % 1000, .body = span_of(data + 2, size - 2), .retry_after = -1};
    enum otlp_verdict v = otlp_answer_read(&a, 10, &refused, &why);
    MUST(refused <= 10 && v <= OTLP_REFUSED && (v == OTLP_TAKEN || refused == 10) && (v == OTLP_TAKEN || why.len));
    for (const char *p = line; *p; p++)
        MUST((uint8_t)*p >= 0x20 && *p != 0x7f);
    return 0;
}
