/* A wall clock of a node's own. Preloaded into the node's programs; the offset is a file that all of them map, so a
 * step reaches the programs that already run. CLOCK_MONOTONIC and its kin are left alone, as a real step leaves them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static _Atomic int64_t no_offset;
static _Atomic int64_t *offset_ns = &no_offset;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void *next(const char *name, const char *version)
{
    void *found = version ? dlvsym(RTLD_NEXT, name, version) : 0;
    return found ? found : dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void start(void)
{
    int fd = open(OFFSET_FILE, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    int writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    void *map = mmap(0, sizeof *offset_ns, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        offset_ns = map;
    close(fd);
}

static int64_t to_ns(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

static struct timespec from_ns(int64_t ns)
{
    struct timespec t = {ns / SECOND, ns % SECOND};
    if (t.tv_nsec < 0) {
        t.tv_nsec += SECOND;
        t.tv_sec--;
    }
    return t;
}

static int is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

/* What the kernel, which knows no offset, must be told for a moment of the node's clock. */
static struct timespec kernels(const struct timespec *t) { return from_ns(to_ns(t) - *offset_ns); }

int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (!real_clock_gettime)
        real_clock_gettime = next("clock_gettime", 0);
    int result = real_clock_gettime(clock, out);
    if (result == 0 && is_wall(clock))
        *out = from_ns(to_ns(out) + *offset_ns);
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *out, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}

/* date -s in the node steps the node's clock, and never the host's. */
int clock_settime(clockid_t clock, const struct timespec *wanted)
{
    struct timespec now;
    if (clock != CLOCK_REALTIME || offset_ns == &no_offset || geteuid() != 0) {
        errno = EPERM;
        return -1;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    *offset_ns += to_ns(wanted) - to_ns(&now);
    return 0;
}

int settimeofday(const struct timeval *wanted, const struct timezone *zone)
{
    struct timespec t;
    if (!wanted)
        return zone ? 0 : (errno = EINVAL, -1);
    t = (struct timespec){wanted->tv_sec, wanted->tv_usec * 1000};
    return clock_settime(CLOCK_REALTIME, &t);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wait, struct timespec *rest)
{
    static int (*real)(clockid_t, int, const struct timespec *, struct timespec *);
    if (!real)
        real = next("clock_nanosleep", 0);
    if (!(flags & TIMER_ABSTIME) || !is_wall(clock))
        return real(clock, flags, wait, rest);
    struct timespec until = kernels(wait);
    return real(clock, flags, &until, rest);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until)
{
    static int (*real)(sem_t *, const struct timespec *);
    if (!real)
        real = next("sem_timedwait", 0);
    struct timespec t = kernels(until);
    return real(sem, &t);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = next("pthread_mutex_timedlock", 0);
    struct timespec t = kernels(until);
    return real(mutex, &t);
}

/* glibc keeps the clock of a condition variable in bit 1 of __wrefs: set for CLOCK_MONOTONIC. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = next("pthread_cond_timedwait", "GLIBC_2.3.2");
    if (cond->__data.__wrefs & 2)
        return real(cond, mutex, until);
    struct timespec t = kernels(until);
    return real(cond, mutex, &t);
}
