#define _GNU_SOURCE
#include "cvmsync_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

int cvmsync_punch_hole(int fd, int64_t offset, int64_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int cvmsync_reserve(int fd, int64_t offset, int64_t length) {
    // Where the file system can't set storage aside, the C library writes to each of its blocks instead.
    int error = posix_fallocate(fd, offset, length);
    if (error == 0) return 0;
    errno = error;
    return -1;
}

int64_t cvmsync_next_data(int fd, int64_t offset) {
    return lseek(fd, offset, SEEK_DATA);
}

int64_t cvmsync_next_hole(int fd, int64_t offset) {
    return lseek(fd, offset, SEEK_HOLE);
}

int64_t cvmsync_read_cached(int fd, void *bytes, size_t count, int64_t offset) {
    struct iovec piece = {.iov_base = bytes, .iov_len = count};
    return preadv2(fd, &piece, 1, offset, RWF_NOWAIT);
}
