/* Which file a reload starts: the one this process was started from, by the name it was called by. */
#pragma once

/*
 * An absolute name, living as long as the process. As it was called when that is the same file, so that a symbolic link that is
 * changed is followed at the next reload; otherwise what the kernel calls it.
 */
const char *exe_path_find(void);
