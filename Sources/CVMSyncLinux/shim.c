#include "cvmsync_linux.h"
