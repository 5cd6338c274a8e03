/* Messages about live sessions, as the observer reads pages of relays and relays read questions. */
#include "wire/listing.h"

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_page(const struct ipc_msg *m) {
    struct listing_reader l;
    struct listing_row row;
    struct conn_info f;
    unsigned rows = 0;
    int err = listing_read(m, &l);
    while (err == 0 && l.rows > 0) {
        err = listing_read_row(&l, &row, &f);
        MUST(err == 0 || err == ERR_FORMAT);
        if (err == 0)
            MUST(++rows <= LISTING_ROWS_MAX && row.state < LISTING_STATES && row.conn_info.len <= m->body.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ipc_msg m = {.type = LISTING_PAGE, .body = span_of(data, size)};
    struct listing_ask ask;
    read_page(&m);
    m.type = LISTING_ASK;
    if (listing_ask_read(&m, &ask) == 0)
        MUST(ask.name.len <= size && ask.service.len <= 255);
    return 0;
}
