/* Of what the configuration names outside of it: what the doctor looks at as well. */
#pragma once

struct load;

/* Whether answers to challenges can be written below DIR, by who calls: 0, or errno of the first directory of it that is there.
 */
int check_webroot_access(const char *dir);

/* What the keys name on this machine. May write a self-signed certificate. */
void check_files(struct load *l);
