// The header is inline; this makes it a part of the module.
#include "dirty_tracking.h"
