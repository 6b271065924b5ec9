#include "cvmsync_heap.h"
#include <limits.h>
#include <malloc.h>

void cvmsync_give_back_blocks_from(size_t bytes) {
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, bytes > INT_MAX ? INT_MAX : (int)bytes);
#else
    (void)bytes;
#endif
}
