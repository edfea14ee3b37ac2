/* Makes the n-th system call of a kind on files of one name fail: loaded before libc with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char kind[16], part[256];
static int left, with_errno, fired;

/* From now on the n-th `call` on a file whose path contains `name` fails with `error`, once; n = 0: none does. */
void fail_call(const char *call, const char *name, int n, int error) {
    snprintf(kind, sizeof kind, "%s", call);
    snprintf(part, sizeof part, "%s", name);
    left = n, with_errno = error, fired = 0;
}

int has_failed(void) { return fired; }

static int fails(const char *call, const char *path) {
    if (left == 0 || strcmp(call, kind) != 0 || strstr(path, part) == NULL || --left > 0) return 0;
    fired = 1, errno = with_errno;
    return 1;
}

static int fails_at(const char *call, int file) {
    char link[64], path[4096];
    if (left == 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t n) { return fails_at("write", file) ? -1 : REAL(write)(file, data, n); }
ssize_t pwrite(int file, const void *data, size_t n, off_t at) {
    return fails_at("write", file) ? -1 : REAL(pwrite)(file, data, n, at);
}
ssize_t pwrite64(int file, const void *data, size_t n, off64_t at) {
    return fails_at("write", file) ? -1 : REAL(pwrite64)(file, data, n, at);
}
int fsync(int file) { return fails_at("sync", file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails_at("sync", file) ? -1 : REAL(fdatasync)(file); }
int ftruncate(int file, off_t size) { return fails_at("truncate", file) ? -1 : REAL(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return fails_at("truncate", file) ? -1 : REAL(ftruncate64)(file, size); }
int unlink(const char *path) { return fails("unlink", path) ? -1 : REAL(unlink)(path); }
