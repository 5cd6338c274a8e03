/* Of what the configuration names outside of it: what the doctor looks at as well. */
#pragma once

/* Whether answers to challenges can be written below DIR, by who calls: 0, or errno of the first directory of it that is there.
 */
int check_webroot_access(const char *dir);
