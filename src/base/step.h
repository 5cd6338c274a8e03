/* What one step of an unfinished piece of work came to. "Not yet" is not an error. */
#pragma once

enum step {
    STEP_DONE,      /* this unit of work is complete */
    STEP_WANT_READ, /* more input is needed */
    STEP_EOF,       /* the other side ended in good order */
    STEP_FAILED,    /* the reason is kept on the object */
};
