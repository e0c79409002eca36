// The wall clock of one program, wrong by as many seconds as the file that LOGWEIR_CLOCK names says at
// that moment. What waits until a wall-clock time (cnd_timedwait, which librdkafka uses) wakes up as it would if the
// clock of the system had jumped: too early or too late. Clocks that only tell how much time has passed
// are left alone. Made by tests/src/clock.rs, loaded by LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long wrong_by(void) {
    char text[32] = {0};
    const char *path = getenv("LOGWEIR_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

static int real(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return next(clock, now);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int saved = errno, result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += wrong_by();
        errno = saved;
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec fine;
    int result = clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return result;
}

int timespec_get(struct timespec *now, int base) {
    return clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

static int is_past(const struct timespec *until) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec);
}

static struct timespec step(void) {
    struct timespec step;
    real(CLOCK_REALTIME, &step);
    step.tv_nsec += 20000000;
    if (step.tv_nsec >= 1000000000) step.tv_sec += 1, step.tv_nsec -= 1000000000;
    return step;
}

// How often each condition was signalled; two may share a place.
static atomic_ulong *signals(cnd_t *condition) {
    static atomic_ulong places[4096];
    return &places[((uintptr_t)condition >> 4) % 4096];
}

int cnd_signal(cnd_t *condition) {
    static int (*next)(cnd_t *);
    if (!next) next = (int (*)(cnd_t *))dlsym(RTLD_NEXT, "cnd_signal");
    atomic_fetch_add(signals(condition), 1);
    return next(condition);
}

int cnd_broadcast(cnd_t *condition) {
    static int (*next)(cnd_t *);
    if (!next) next = (int (*)(cnd_t *))dlsym(RTLD_NEXT, "cnd_broadcast");
    atomic_fetch_add(signals(condition), 1);
    return next(condition);
}

// In steps of 20 ms by the real clock, so that a jump is noticed as the kernel would notice it. A signal at the
// very end of a step would be lost; so this wakes up, which a wait may do for nothing, whenever there was
// one. Only for waits by the wall clock: nothing here asks for another one.
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    if (!next) next = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    unsigned long before = atomic_load(signals(condition));
    int result = thrd_timedout;
    while (result == thrd_timedout && !is_past(until)) {
        struct timespec soon = step();
        result = next(condition, mutex, &soon);
        if (result == thrd_timedout && atomic_load(signals(condition)) != before) return thrd_success;
    }
    return result;
}
