// Holes in files. Swift's Glibc module hides these, because they stand behind _GNU_SOURCE.

#pragma once
#include <stdint.h>

/// Makes [offset, offset + length) of the file a hole that reads as zeros. 0, or -1 with errno.
int vmsync_punch_hole(int descriptor, int64_t offset, int64_t length);
/// The first byte at or after `offset` that isn't in a hole, or -1 with errno (ENXIO: there is none).
int64_t vmsync_next_data(int descriptor, int64_t offset);
/// The first byte at or after `offset` that is in a hole; the end of the file counts as one. -1 with errno.
int64_t vmsync_next_hole(int descriptor, int64_t offset);
