#pragma once
#include <stddef.h>
#include <stdint.h>

// Calls on sparse files that Swift's C library module doesn't have. Each returns -1 with errno set when it fails.

// Gives the storage of a range back: it reads as zeros, and the file keeps its size.
int cvmsync_punch_hole(int fd, int64_t offset, int64_t length);

// Sets storage aside for a range, so that a later write there can't run out of it. Content doesn't change.
int cvmsync_reserve(int fd, int64_t offset, int64_t length);

// The offset of the next stored byte at or after `offset`; -1 with ENXIO if there is none.
int64_t cvmsync_next_data(int fd, int64_t offset);

// The offset of the next hole at or after `offset`; a file has one at its end.
int64_t cvmsync_next_hole(int fd, int64_t offset);

// Reads like pread(2) if that needs no waiting for storage: fewer bytes than asked, or -1 with EAGAIN, if it does.
int64_t cvmsync_read_cached(int fd, void *bytes, size_t count, int64_t offset);
