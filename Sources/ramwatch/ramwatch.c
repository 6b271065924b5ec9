// ramwatch: preloaded into QEMU, so that the device daemon can ask the kernel which pages of guest RAM were written.
//
// Only the process that owns a mapping can register it with userfaultfd, so this much must run inside QEMU. It waits
// for the mmap() of the file named by VMSYNC_RAM, registers that mapping for asynchronous write protection, and writes
// one line to the file named by VMSYNC_RAMWATCH_REPORT. All scanning is done from outside, with PAGEMAP_SCAN on
// /proc/PID/pagemap. (Linux: Documentation/admin-guide/mm/{userfaultfd,pagemap}.rst; needs kernel 6.7.)
//
// The line is "watching RAM_START RAM_LENGTH PROBE_START PAGE_SIZE" in decimal, or "failed STEP ERRNO". PROBE_START
// is a mapping of two pages on the same file system, armed like the RAM, of which only the second was written since:
// the daemon scans it and so knows, by a real write, whether tracking works on this kernel and this file system.
//
// Pages that the guest reports as free QEMU punches out of the file. The kernel keeps the write protection of a page that
// is punched out and doesn't count the punch as a write, though the page is zero from then on. So fallocate() is watched
// as well, and takes the protection off what it punched: to a scan those pages are written.
//
// Nothing here may stop QEMU: every failure is reported and the mapping is left as it was.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../CVMSyncLinux/include/dirty_tracking.h"

typedef void *(*mmap_function)(void *, size_t, int, int, int, off_t);
typedef int (*fallocate_function)(int, int, off_t, off_t);

/// The mapping that is watched; start is NULL before there is one. Written once, before QEMU can punch anything.
static struct {
    int userfaultfd;
    char *start;
    size_t length;
} watched;

static int report_failure(const char *step) {
    const char *path = getenv("VMSYNC_RAMWATCH_REPORT");
    int number = errno;
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "failed %s %d\n", step, number);
        fclose(file);
    }
    return -1;
}

/// A userfaultfd that lets writes through and only remembers them, or -1.
static int open_write_watch(void) {
    // User mode only, so that no privilege is needed; asynchronous protection resolves kernel-mode writes by itself.
    int descriptor = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | VMSYNC_UFFD_USER_MODE_ONLY);
    if (descriptor < 0) return report_failure("userfaultfd");
    struct vmsync_uffdio_api api = {
        .api = VMSYNC_UFFD_API,
        .features = VMSYNC_UFFD_FEATURE_WP_HUGETLBFS_SHMEM | VMSYNC_UFFD_FEATURE_WP_UNPOPULATED
            | VMSYNC_UFFD_FEATURE_WP_ASYNC,
    };
    if (ioctl(descriptor, VMSYNC_UFFDIO_API, &api) != 0) {
        report_failure("features");
        close(descriptor);
        return -1;
    }
    return descriptor;
}

static int watch(int descriptor, void *start, size_t length) {
    struct vmsync_uffdio_register range = {
        .start = (uint64_t)(uintptr_t)start,
        .length = length,
        .mode = VMSYNC_UFFDIO_REGISTER_MODE_WP,
    };
    return ioctl(descriptor, VMSYNC_UFFDIO_REGISTER, &range);
}

/// Two pages beside the RAM file: both armed, then the second one written. NULL if any step fails.
static volatile uint8_t *make_probe(int descriptor, mmap_function real_mmap, const char *ram_path, size_t page) {
    char folder[4096];
    if (snprintf(folder, sizeof folder, "%s", ram_path) >= (int)sizeof folder) return NULL;
    char *slash = strrchr(folder, '/');
    if (!slash) return NULL;
    *slash = 0;
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, (off_t)(2 * page)) != 0) return NULL;
    volatile uint8_t *probe = real_mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (probe == MAP_FAILED || watch(descriptor, (void *)probe, 2 * page) != 0) return NULL;
    probe[0] = 1;
    probe[page] = 1;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) return NULL;
    struct vmsync_page_region regions[2];
    long found = vmsync_scan_written(
        pagemap, (uint64_t)(uintptr_t)probe, (uint64_t)(uintptr_t)probe + 2 * page, regions, 2, 1, NULL);
    close(pagemap);
    if (found < 0) return NULL;
    probe[page] = 2;
    return probe;
}

static void watch_ram(void *start, size_t length, mmap_function real_mmap, const char *ram_path) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int descriptor = open_write_watch();
    if (descriptor < 0) return;
    if (watch(descriptor, start, length) != 0) {
        report_failure("register");
        close(descriptor);
        return;
    }
    volatile uint8_t *probe = make_probe(descriptor, real_mmap, ram_path, page);
    if (!probe) {
        report_failure("probe");
        close(descriptor);
        return;
    }
    // The descriptor stays open for the life of QEMU: closing it would end the watch.
    watched.userfaultfd = descriptor;
    watched.length = length;
    watched.start = start;
    const char *report = getenv("VMSYNC_RAMWATCH_REPORT");
    FILE *file = report ? fopen(report, "w") : NULL;
    if (!file) return;
    fprintf(file, "watching %llu %zu %llu %zu\n", (unsigned long long)(uintptr_t)start, length,
            (unsigned long long)(uintptr_t)probe, page);
    fclose(file);
}

static int is_ram(int descriptor, int flags, const char *ram_path) {
    struct stat mapped, wanted;
    return (flags & MAP_SHARED) && descriptor >= 0 && fstat(descriptor, &mapped) == 0 && stat(ram_path, &wanted) == 0
        && mapped.st_dev == wanted.st_dev && mapped.st_ino == wanted.st_ino;
}

static void *mmap_and_watch(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    static mmap_function real_mmap;
    if (!real_mmap) real_mmap = (mmap_function)dlsym(RTLD_NEXT, "mmap");
    void *result = real_mmap(address, length, protection, flags, descriptor, offset);
    const char *ram_path = getenv("VMSYNC_RAM");
    if (result != MAP_FAILED && ram_path && is_ram(descriptor, flags, ram_path)) {
        int saved = errno;
        watch_ram(result, length, real_mmap, ram_path);
        errno = saved;
    }
    return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    return mmap_and_watch(address, length, protection, flags, descriptor, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    return mmap_and_watch(address, length, protection, flags, descriptor, offset);
}

/// Takes the write protection off [offset, offset + length) of the file, as a write would.
static void count_as_written(off_t offset, off_t length) {
    if (!watched.start || offset < 0 || length <= 0 || (size_t)offset >= watched.length) return;
    size_t rest = watched.length - (size_t)offset;
    struct vmsync_uffdio_writeprotect range = {
        .start = (uint64_t)(uintptr_t)watched.start + (uint64_t)offset,
        .length = (size_t)length < rest ? (uint64_t)length : rest,
        .mode = 0,
    };
    // Refused, the next scan misses the punch: then it is better that there is no watch.
    if (ioctl(watched.userfaultfd, VMSYNC_UFFDIO_WRITEPROTECT, &range) != 0) {
        report_failure("punch");
        close(watched.userfaultfd);
        watched.start = NULL;
    }
}

static int fallocate_and_note(int descriptor, int mode, off_t offset, off_t length) {
    static fallocate_function real_fallocate;
    if (!real_fallocate) real_fallocate = (fallocate_function)dlsym(RTLD_NEXT, "fallocate64");
    int result = real_fallocate(descriptor, mode, offset, length);
    const char *ram_path = getenv("VMSYNC_RAM");
    if (result == 0 && (mode & FALLOC_FL_PUNCH_HOLE) && ram_path && is_ram(descriptor, MAP_SHARED, ram_path)) {
        int saved = errno;
        count_as_written(offset, length);
        errno = saved;
    }
    return result;
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    return fallocate_and_note(descriptor, mode, offset, length);
}

int fallocate64(int descriptor, int mode, off_t offset, off_t length) {
    return fallocate_and_note(descriptor, mode, offset, length);
}
