// C that Swift cannot call by itself. No logic here.

#pragma once
#include "dirty_tracking.h"
#include "cvmsync_disk.h"
#include "cvmsync_net.h"
#include "cvmsync_heap.h"
