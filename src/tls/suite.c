#include "tls/suite.h"
