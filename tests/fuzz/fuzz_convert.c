/* Bytes as a configuration of another proxy, the first one says of which: what is written is TOML, whatever was read. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/defs.h"
#include "conf/toml_face.h"
#include "convert/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_toml(const char *text, size_t len) {
    struct toml_fault fault;
    struct toml_node *root = toml_read(text, len, &fault);
    if (!root) {
        fprintf(stderr, "line %u: %s\n%s", fault.at.line, fault.text, text);
        abort();
    }
    toml_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    struct model m;
    if (size == 0 || size > 4096)
        return 0;
    model_init(&m, "file", "/etc/proxy");
    if (convert_format_at(data[0] % 4u)->read(&m, span_of(data + 1, size - 1), &why) < 0) {
        MUST(why.len > 0);
    } else {
        char *text = NULL;
        size_t len = 0;
        FILE *to = open_memstream(&text, &len);
        MUST(to);
        model_finish(&m);
        model_write(&m, to);
        MUST(fclose(to) == 0);
        check_toml(text, len);
        free(text);
    }
    model_fini(&m);
    return 0;
}
