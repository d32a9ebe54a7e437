/* A library to preload: makes the disk and the clock of a running program misbehave, as a control file says.
 *
 * MAILSUITE_SHIM names a file of struct control, mapped into every process; the test writes into it. A rule
 * concerns calls on files whose path contains its text. Errors are numbers of errno, 0: none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    int32_t sync_error;         /* fsync, fdatasync of files fail */
    int32_t folder_error;       /* fsync of folders fails */
    int32_t write_error;        /* write, pwrite fail */
    int32_t sync_delay_ms;      /* fsync, fdatasync take so long */
    int64_t clock_offset_s;     /* added to the wall clock */
    int32_t change_error;       /* names cannot be made, moved or removed */
    int32_t unused;
    int32_t syncs;              /* how many syncs a rule met */
    int32_t writes;
    char path[256];             /* the rule's text */
};

static volatile struct control *control;

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("MAILSUITE_SHIM");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED)
            control = at;
        close(fd);
    }
}

static int concerned(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t length;
    if (control == NULL || control->path[0] == 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, (const char *)control->path) != NULL;
}

static int sync_call(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (control != NULL && (control->sync_error || control->folder_error || control->sync_delay_ms) && concerned(fd)) {
        struct stat found;
        int error = control->sync_error, delay = control->sync_delay_ms;
        if (fstat(fd, &found) == 0 && S_ISDIR(found.st_mode))
            error = control->folder_error;
        __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
        for (int passed = 0; passed < delay && control->sync_delay_ms; passed += 10) {     /* or until it is healed */
            struct timespec pause = {0, 10000000L};
            nanosleep(&pause, NULL);
        }
        if (error) {
            errno = error;
            return -1;
        }
    }
    return real(fd);
}

/* io_uring syncs past fsync(): not in here, so that whoever has it goes another way (queue/store.py). */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    va_list list;
    long words[6];
    if (real == NULL)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_io_uring_setup) {
        errno = ENOSYS;
        return -1;
    }
    va_start(list, number);
    for (int at = 0; at < 6; at++)
        words[at] = va_arg(list, long);
    va_end(list);
    return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

int fsync(int fd) { return sync_call("fsync", fd); }
int fdatasync(int fd) { return sync_call("fdatasync", fd); }

static int write_fails(int fd)
{
    if (control == NULL || !control->write_error || !concerned(fd))
        return 0;
    __atomic_add_fetch(&control->writes, 1, __ATOMIC_RELAXED);
    errno = control->write_error;
    return 1;
}

ssize_t write(int fd, const void *octets, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return write_fails(fd) ? -1 : real(fd, octets, size);
}

ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return write_fails(fd) ? -1 : real(fd, octets, size, at);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t at) { return pwrite64(fd, octets, size, at); }

/* What CPython's os.pwritev calls. */
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags)
{
    static ssize_t (*real)(int, const struct iovec *, int, off64_t, int);
    if (real == NULL)
        real = (ssize_t (*)(int, const struct iovec *, int, off64_t, int))dlsym(RTLD_NEXT, "pwritev64v2");
    return write_fails(fd) ? -1 : real(fd, parts, count, at, flags);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    return pwritev64v2(fd, parts, count, at, flags);
}

static int change_fails(const char *path)
{
    if (control == NULL || !control->change_error || control->path[0] == 0
        || strstr(path, (const char *)control->path) == NULL)
        return 0;
    __atomic_add_fetch(&control->writes, 1, __ATOMIC_RELAXED);
    errno = control->change_error;
    return 1;
}

int open64(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    int mode = 0;
    if (!real)
        real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, int);
        va_end(more);
        if (change_fails(path))
            return -1;
    }
    return real(path, flags, mode);
}

int rename(const char *old, const char *new)
{
    static int (*real)(const char *, const char *);
    if (!real)
        real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    return change_fails(new) ? -1 : real(old, new);
}

int unlink(const char *path)
{
    static int (*real)(const char *);
    if (!real)
        real = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    return change_fails(path) ? -1 : real(path);
}

int linkat(int old_fd, const char *old, int new_fd, const char *new, int flags)
{
    static int (*real)(int, const char *, int, const char *, int);
    if (!real)
        real = (int (*)(int, const char *, int, const char *, int))dlsym(RTLD_NEXT, "linkat");
    return change_fails(new) ? -1 : real(old_fd, old, new_fd, new, flags);
}

int mkdir(const char *path, mode_t mode)
{
    static int (*real)(const char *, mode_t);
    if (!real)
        real = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    return change_fails(path) ? -1 : real(path, mode);
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    int result;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    result = real(which, now);
    if (control != NULL && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        now->tv_sec += control->clock_offset_s;
    return result;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
