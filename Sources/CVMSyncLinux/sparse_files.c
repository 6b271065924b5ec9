#define _GNU_SOURCE
#include "sparse_files.h"

#include <fcntl.h>
#include <unistd.h>

int vmsync_punch_hole(int descriptor, int64_t offset, int64_t length) {
    return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int64_t vmsync_next_data(int descriptor, int64_t offset) { return lseek(descriptor, offset, SEEK_DATA); }

int64_t vmsync_next_hole(int descriptor, int64_t offset) { return lseek(descriptor, offset, SEEK_HOLE); }
