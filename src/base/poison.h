/*
 * Functions that product code must not call: no bound, no error report, or both.
 * Given to the compiler by -include, so no file can forget it. Text numbers are read by text_parse_u64().
 */
#pragma once

#ifndef __cplusplus
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* With _FORTIFY_SOURCE glibc makes macros of them for clang, which would be a warning. */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strtol strtoul atoi atol gets
#endif
