#include "wire/backend_fault.h"

#include <errno.h>
#include <string.h>

const char *backend_fault_text(int error) {
    switch (error) {
    case EAGAIN:
        return "its queue of connections is full";
    case EADDRNOTAVAIL:
        return "no local address or port is left for a connection to it";
    case EDESTADDRREQ:
        return "its name has no address (yet)";
    case EPROTO:
        return "its greeting refuses clients, is none, or does not come";
    default:
        return strerror(error);
    }
}
