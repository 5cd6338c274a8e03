/*
 * The only file that knows the TOML library (toml++, header-only, without exceptions). Its tree is copied into plain C nodes
 * and let go at once.
 */
#include "conf/toml_face.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#define TOML_EXCEPTIONS        0
#define TOML_HEADER_ONLY       1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES TOML_DEPTH_MAX
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <toml++/toml.h>
#pragma GCC diagnostic pop

namespace {

struct copier {
    size_t nodes = 0;
    toml_fault *fault;
};

toml_pos position(const toml::source_region &r) {
    return {static_cast<uint32_t>(r.begin.line), static_cast<uint32_t>(r.begin.column)};
}

void say(toml_fault *fault, toml_pos at, std::string_view text) {
    fault->at = at;
    size_t n = std::min(text.size(), sizeof(fault->text) - 1);
    std::memcpy(fault->text, text.data(), n);
    fault->text[n] = 0;
}

/*
 * The library recurses over dotted keys without a limit of its own, so a line of many thousand dots would use up the stack.
 * Dots within quotes and comments do not count.
 */
bool dots_are_few(std::string_view text, toml_fault *fault) {
    constexpr uint32_t dots_max = 32;
    uint32_t line = 1, column = 0, dots = 0;
    char quote = 0;
    bool comment = false;
    for (size_t i = 0; i < text.size(); i++) {
        char c = text[i];
        column++;
        if (c == '\n') {
            line++;
            column = dots = 0;
            quote = 0;
            comment = false;
        } else if (comment) {
            continue;
        } else if (quote) {
            if (c == '\\' && quote == '"')
                i++;
            else if (c == quote)
                quote = 0;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '#') {
            comment = true;
        } else if (c == '.' && ++dots > dots_max) {
            say(fault, {line, column}, "more than 32 dots in one line");
            return false;
        }
    }
    return true;
}

char *copy_text(std::string_view s) {
    char *p = static_cast<char *>(std::malloc(s.size() + 1));
    if (!p)
        std::abort();
    if (!s.empty())
        std::memcpy(p, s.data(), s.size());
    p[s.size()] = 0;
    return p;
}

toml_node *make_children(size_t n) {
    toml_node *p = static_cast<toml_node *>(std::calloc(n ? n : 1, sizeof(toml_node)));
    if (!p)
        std::abort();
    return p;
}

bool copy_node(copier &c, const toml::node &from, toml_node *to, unsigned depth);

bool copy_table(copier &c, const toml::table &from, toml_node *to, unsigned depth) {
    struct member {
        const toml::key *key;
        const toml::node *value;
    };
    std::vector<member> members;
    for (auto &&[key, value] : from)
        members.push_back({&key, &value});
    std::stable_sort(members.begin(), members.end(), [](const member &a, const member &b) {
        toml_pos p = position(a.key->source()), q = position(b.key->source());
        return p.line != q.line ? p.line < q.line : p.column < q.column;
    });
    to->kind = TOML_TABLE;
    to->children = make_children(members.size());
    for (const member &m : members) {
        toml_node *child = &to->children[to->nchildren++];
        std::string_view key = m.key->str();
        child->key = copy_text(key);
        child->key_at = position(m.key->source());
        if (key.find('\0') != key.npos) {
            say(c.fault, child->key_at, "a zero byte in a key");
            return false;
        }
        if (!copy_node(c, *m.value, child, depth + 1))
            return false;
    }
    return true;
}

bool copy_array(copier &c, const toml::array &from, toml_node *to, unsigned depth) {
    to->kind = TOML_ARRAY;
    to->children = make_children(from.size());
    for (const toml::node &n : from)
        if (!copy_node(c, n, &to->children[to->nchildren++], depth + 1))
            return false;
    return true;
}

bool copy_string(copier &c, const std::string &from, toml_node *to) {
    to->kind = TOML_STRING;
    to->string = copy_text(from);
    if (from.find('\0') != from.npos) {
        say(c.fault, to->at, "a zero byte in a text");
        return false;
    }
    return true;
}

bool copy_node(copier &c, const toml::node &from, toml_node *to, unsigned depth) {
    to->at = position(from.source());
    if (++c.nodes > TOML_NODES_MAX || depth > TOML_DEPTH_MAX) {
        say(c.fault, to->at, depth > TOML_DEPTH_MAX ? "nested too deeply" : "too many values");
        return false;
    }
    if (auto *t = from.as_table())
        return copy_table(c, *t, to, depth);
    if (auto *a = from.as_array())
        return copy_array(c, *a, to, depth);
    if (auto *s = from.as_string())
        return copy_string(c, s->get(), to);
    if (auto *i = from.as_integer()) {
        to->kind = TOML_INTEGER;
        to->integer = i->get();
    } else if (auto *f = from.as_floating_point()) {
        to->kind = TOML_FLOAT;
        to->number = f->get();
    } else if (auto *b = from.as_boolean()) {
        to->kind = TOML_BOOLEAN;
        to->integer = b->get();
    } else {
        to->kind = TOML_TIME;
    }
    return true;
}

void free_inside(toml_node *n) {
    for (size_t i = 0; i < n->nchildren; i++)
        free_inside(&n->children[i]);
    std::free(n->children);
    std::free(n->key);
    std::free(n->string);
}

} // namespace

extern "C" struct toml_node *toml_read(const char *text, size_t len, struct toml_fault *ret_fault) {
    std::string_view all{text, len};
    *ret_fault = {};
    if (len > TOML_FILE_MAX) {
        say(ret_fault, {0, 0}, "larger than 1 MiB");
        return nullptr;
    }
    if (!dots_are_few(all, ret_fault))
        return nullptr;
    toml::parse_result parsed = toml::parse(all);
    if (!parsed) {
        std::string why{parsed.error().description()};
        if (!why.empty())
            why[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(why[0])));
        say(ret_fault, position(parsed.error().source()), why);
        return nullptr;
    }
    copier c;
    c.fault = ret_fault;
    toml_node *root = make_children(1);
    if (copy_table(c, parsed.table(), root, 0))
        return root;
    toml_free(root);
    return nullptr;
}

extern "C" void toml_free(struct toml_node *root) {
    if (!root)
        return;
    free_inside(root);
    std::free(root);
}
