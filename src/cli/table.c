#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

/* One a code point: there are no wide characters in addresses and names of services. */
size_t table_columns(const char *s) {
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

size_t table_clip(const char *s, size_t n) {
    size_t i = 0;
    while (s[i] && (n > 0 || ((unsigned char)s[i] & 0xc0) == 0x80)) {
        n -= ((unsigned char)s[i] & 0xc0) != 0x80;
        i++;
    }
    return i;
}

void table_shorten(struct text *to, const char *s, size_t width) {
    size_t len = table_columns(s);
    if (len <= width) {
        text_add(to, s);
    } else if (width > 0) {
        size_t head = (width - 1) / 3, tail = width - 1 - head;
        text_addf(to, "%.*s~%s", (int)table_clip(s, head), s, s + table_clip(s, len - tail));
    }
}

static void put_cells(struct table *t, const char *line, char part) {
    if (t->rows == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 32;
        char(*more)[TABLE_CELL] = realloc(t->cells, cap * TABLE_COLUMNS * sizeof(*more));
        if (!more)
            return;
        t->cells = more;
        t->cap = cap;
    }
    char(*row)[TABLE_CELL] = &t->cells[t->rows++ * TABLE_COLUMNS];
    memset(row, 0, TABLE_COLUMNS * sizeof(*row));
    for (size_t i = 0; i < TABLE_COLUMNS; i++) {
        size_t len = strcspn(line, (char[]){part, 0});
        struct text cell = text_of(row[i], sizeof(row[i]));
        text_add_span(&cell, span_of(line, len));
        t->columns = t->rows == 1 ? i + 1 : t->columns;
        if (!line[len])
            break;
        line += len + 1;
    }
}

void table_begin(struct table *t, const char *head) {
    *t = (struct table){.elastic = -1};
    put_cells(t, head, '|');
    for (size_t i = 0; t->rows && i < t->columns; i++) {
        char *name = t->cells[i];
        bool number = name[0] == '>', elastic = name[0] == '~';
        if (number)
            t->right |= 1u << i;
        if (elastic)
            t->elastic = (int)i;
        if (number || elastic)
            memmove(name, name + 1, strlen(name));
    }
}

void table_row(struct table *t, const char *fmt, ...) {
    char line[TABLE_COLUMNS * TABLE_CELL];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap); /* cut is fine in a table */
    va_end(ap);
    put_cells(t, line, '\t');
}

static void add_cell(struct text *line, const char *cell, size_t width, bool right) {
    size_t len = table_columns(cell), pad = width > len ? width - len : 0;
    if (right)
        text_addf(line, "%*s", (int)pad, "");
    table_shorten(line, cell, width);
    if (!right)
        text_addf(line, "%*s", (int)pad, "");
}

static void print_row(const struct table *t, size_t row, const size_t widths[static TABLE_COLUMNS], FILE *to) {
    char text[TABLE_COLUMNS * (TABLE_CELL + 2) + 1];
    struct text line = text_of(text, sizeof(text));
    for (size_t c = 0; c < t->columns; c++) {
        text_add(&line, c > 0 ? "  " : "");
        add_cell(&line, t->cells[row * TABLE_COLUMNS + c], widths[c], t->right >> c & 1);
    }
    while (line.len > 0 && text[line.len - 1] == ' ')
        line.len--;
    fprintf(to, "%.*s\n", (int)line.len, text);
}

void table_end(struct table *t, FILE *to, size_t width) {
    size_t widths[TABLE_COLUMNS] = {0}, sum = 0;
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->columns; c++)
            widths[c] = MAX(widths[c], table_columns(t->cells[r * TABLE_COLUMNS + c]));
    for (size_t c = 0; c < t->columns; c++)
        sum += widths[c] + (c > 0 ? 2 : 0);
    if (sum > width && t->elastic >= 0)
        widths[t->elastic] -= MIN(sum - width, widths[t->elastic] > 8 ? widths[t->elastic] - 8 : 0);
    for (size_t r = 0; t->rows > 1 && r < t->rows; r++)
        print_row(t, r, widths, to);
    free(t->cells);
    *t = (struct table){.elastic = -1};
}

size_t table_width(void) {
    struct winsize w;
    if (!isatty(STDOUT_FILENO))
        return SIZE_MAX;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col : 80;
}

/* Three digits and a letter. */
static const char *scaled(double v, const char *unit, char to[static HUMAN_MAX]) {
    static const char letters[] = " kMGTPE";
    size_t i = 0;
    for (; v >= 999.5 && i + 2 < sizeof(letters); i++)
        v /= 1000;
    if (i == 0)
        (void)snprintf(to, HUMAN_MAX, v > 0 && v < 9.95 && v != (double)(int)v ? "%.1f%s%s" : "%.0f%s%s", v, unit[0] ? " " : "",
                       unit);
    else
        (void)snprintf(to, HUMAN_MAX, "%.*f %c%s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, letters[i], unit);
    return to;
}

const char *human_count(double v, char to[static HUMAN_MAX]) {
    return scaled(v, "", to);
}

const char *human_bytes(double v, char to[static HUMAN_MAX]) {
    return scaled(v, "B", to);
}

const char *human_seconds(double v, char to[static HUMAN_MAX]) {
    v = MAX(MIN(v, 8.64e9), 0.0); /* 99999 days: no value is longer */
    if (v < 1)
        (void)snprintf(to, HUMAN_MAX, "%.*f ms", v < 0.00995 ? 2 : v < 0.0995 ? 1 : 0, v * 1000);
    else if (v < 60)
        (void)snprintf(to, HUMAN_MAX, "%.*f s", v < 9.95 ? 1 : 0, v);
    else if (v < 3600)
        (void)snprintf(to, HUMAN_MAX, "%dm %ds", (int)(v / 60), (int)v % 60);
    else if (v < 86400)
        (void)snprintf(to, HUMAN_MAX, "%dh %dm", (int)(v / 3600), (int)v / 60 % 60);
    else
        (void)snprintf(to, HUMAN_MAX, "%dd %dh", (int)(v / 86400), (int)(v / 3600) % 24);
    return to;
}
