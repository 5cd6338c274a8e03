#include "base/path.h"

#include "base/text.h"

const char *path_join(char to[static PATH_MAX], const char *dir, const char *name) {
    struct text t = text_of(to, PATH_MAX);
    text_addf(&t, "%s/%s", dir, name);
    if (t.cut)
        to[0] = '\0';
    return to;
}
