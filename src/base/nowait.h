/* Writing to descriptors that are shared with other processes, so that O_NONBLOCK may not be set on them. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Writes what FD takes without waiting, like write(2) on a non-blocking descriptor: the number of bytes, or -1 with errno,
 * EAGAIN where it takes none now. A pipe, socket or terminal that another process writes to at the same moment may be waited
 * for all the same; for what must never wait nowait_open() makes a descriptor that cannot.
 */
ssize_t nowait_write(int fd, const void *p, size_t len);

/* A non-blocking descriptor of the pipe or device behind FD; -1 where there is none to be had (a file, a socket, no /proc). */
int nowait_open(int fd);
