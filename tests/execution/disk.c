/* A disk that misbehaves, for `chaos.py`: loaded before the C library (LD_PRELOAD) into each process of a
 * schedule, SQLite's calls included.
 *
 * CHAOS_ROOT is the folder whose files are on that disk. CHAOS_DISK is a file of four numbers, shared by all
 * processes: the fault, how many calls go well before it, how many meet it, and how many have met it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONE, FULL, REFUSES, TORN };
enum { READS = 1, WRITES = 2, NAMES = 4, TAKES_SPACE = 8 };

static struct { int fault, before, times, met; } *disk;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void load(void) {
    const char *folder = getenv("CHAOS_ROOT"), *path = getenv("CHAOS_DISK");
    int file = folder && path ? open(path, O_RDWR) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    root_length = snprintf(root, sizeof root, "%s", folder);
    if (found != MAP_FAILED) disk = found;
}

/* Tell whether this call on a file meets the fault. */
static int meets(const char *path, int kind) {
    if (!disk || disk->fault == NONE || !path || strncmp(path, root, root_length)) return 0;
    if (disk->fault == FULL && !(kind & TAKES_SPACE)) return 0;
    if (disk->fault == TORN && !(kind & (WRITES | NAMES))) return 0;
    if (__atomic_sub_fetch(&disk->before, 1, __ATOMIC_SEQ_CST) >= 0) return 0;
    if (__atomic_sub_fetch(&disk->times, 1, __ATOMIC_SEQ_CST) < 0) return 0;
    __atomic_add_fetch(&disk->met, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static int meets_open(int number, int kind) {
    char link[64], path[PATH_MAX];
    if (!disk || disk->fault == NONE) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return meets(path, kind);
}

static int refuse(void) {
    if (disk->fault == TORN) kill(getpid(), SIGKILL);
    errno = disk->fault == FULL ? ENOSPC : EIO;
    return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPENS(name)                                                                    \
    int name(const char *path, int flags, ...) {                                       \
        va_list more;                                                                  \
        va_start(more, flags);                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;        \
        va_end(more);                                                                  \
        if (meets(path, flags & O_CREAT ? NAMES | TAKES_SPACE : READS)) return refuse(); \
        return REAL(name)(path, flags, mode);                                          \
    }
OPENS(open64)
OPENS(open)

/* A torn write leaves half of its bytes, and the process is gone. */
ssize_t write(int file, const void *bytes, size_t size) {
    if (meets_open(file, WRITES | TAKES_SPACE)) {
        if (disk->fault == TORN) REAL(write)(file, bytes, size / 2);
        return refuse();
    }
    return REAL(write)(file, bytes, size);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    if (meets_open(file, WRITES | TAKES_SPACE)) {
        if (disk->fault == TORN) REAL(pwrite64)(file, bytes, size / 2, at);
        return refuse();
    }
    return REAL(pwrite64)(file, bytes, size, at);
}

#define CALLS(type, name, kind, asked, parameters, arguments)   \
    type name parameters {                                      \
        if (asked(first, kind)) return refuse();                \
        return REAL(name) arguments;                            \
    }
CALLS(ssize_t, read, READS, meets_open, (int first, void *b, size_t c), (first, b, c))
CALLS(ssize_t, pread64, READS, meets_open, (int first, void *b, size_t c, off64_t d), (first, b, c, d))
CALLS(int, fsync, WRITES | TAKES_SPACE, meets_open, (int first), (first))
CALLS(int, fdatasync, WRITES | TAKES_SPACE, meets_open, (int first), (first))
CALLS(int, ftruncate64, WRITES, meets_open, (int first, off64_t b), (first, b))
CALLS(int, rename, NAMES, meets, (const char *first, const char *b), (first, b))
CALLS(int, link, NAMES | TAKES_SPACE, meets, (const char *first, const char *b), (first, b))
CALLS(int, unlink, NAMES, meets, (const char *first), (first))
CALLS(int, mkdir, NAMES | TAKES_SPACE, meets, (const char *first, mode_t b), (first, b))
CALLS(int, rmdir, NAMES, meets, (const char *first), (first))
