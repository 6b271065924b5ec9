// The kernel's interface for tracking written pages: constants and structures that Debian 12's headers are too old for.
// Sources: include/uapi/linux/userfaultfd.h and include/uapi/linux/fs.h of Linux 6.7, where PAGEMAP_SCAN and
// UFFD_FEATURE_WP_ASYNC appeared.

#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define VMSYNC_UFFD_API ((uint64_t)0xAA)
#define VMSYNC_UFFD_USER_MODE_ONLY 1
#define VMSYNC_UFFD_FEATURE_WP_HUGETLBFS_SHMEM ((uint64_t)1 << 12)
#define VMSYNC_UFFD_FEATURE_WP_UNPOPULATED ((uint64_t)1 << 13)
#define VMSYNC_UFFD_FEATURE_WP_ASYNC ((uint64_t)1 << 15)
#define VMSYNC_UFFDIO_REGISTER_MODE_WP ((uint64_t)1 << 1)

struct vmsync_uffdio_api {
    uint64_t api;
    uint64_t features;
    uint64_t ioctls;
};

struct vmsync_uffdio_register {
    uint64_t start;
    uint64_t length;
    uint64_t mode;
    uint64_t ioctls;
};

/// mode 0 takes the protection off.
struct vmsync_uffdio_writeprotect {
    uint64_t start;
    uint64_t length;
    uint64_t mode;
};

#define VMSYNC_UFFDIO_API _IOWR(0xAA, 0x3F, struct vmsync_uffdio_api)
#define VMSYNC_UFFDIO_REGISTER _IOWR(0xAA, 0x00, struct vmsync_uffdio_register)
#define VMSYNC_UFFDIO_WRITEPROTECT _IOWR(0xAA, 0x06, struct vmsync_uffdio_writeprotect)

/// A run of pages of one category: [start, end) in bytes of the scanned process's address space.
struct vmsync_page_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct vmsync_pm_scan {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vector;
    uint64_t vector_length;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};

#define VMSYNC_PAGEMAP_SCAN _IOWR('f', 16, struct vmsync_pm_scan)
#define VMSYNC_PM_SCAN_WP_MATCHING ((uint64_t)1 << 0)
#define VMSYNC_PM_SCAN_CHECK_WPASYNC ((uint64_t)1 << 1)
#define VMSYNC_PAGE_IS_WRITTEN ((uint64_t)1 << 1)

/// Finds the pages written since they were last armed in [start, end) of the process whose pagemap is open.
///
/// - pagemap: a descriptor of /proc/PID/pagemap.
/// - regions, capacity: where the runs go, and for how many there is room.
/// - rearm: non-zero to arm the pages that are found, atomically with finding them.
/// - walk_end: if not NULL, receives the address up to which the scan came; below `end` when `regions` was full.
/// Returns the number of runs, or -1 with errno.
///
/// Inline, because ramwatch is built by itself and shares it.
static inline long vmsync_scan_written(int pagemap, uint64_t start, uint64_t end, struct vmsync_page_region *regions,
                                       size_t capacity, int rearm, uint64_t *walk_end) {
    struct vmsync_pm_scan scan = {
        .size = sizeof scan,
        .flags = VMSYNC_PM_SCAN_CHECK_WPASYNC | (rearm ? VMSYNC_PM_SCAN_WP_MATCHING : 0),
        .start = start,
        .end = end,
        .vector = (uint64_t)(uintptr_t)regions,
        .vector_length = capacity,
        .category_mask = VMSYNC_PAGE_IS_WRITTEN,
        .return_mask = VMSYNC_PAGE_IS_WRITTEN,
    };
    long found = ioctl(pagemap, VMSYNC_PAGEMAP_SCAN, &scan);
    if (found >= 0 && walk_end) *walk_end = scan.walk_end;
    return found;
}
