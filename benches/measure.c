/* measure RUNS exit COMMAND...   median and 95th percentile, in microseconds, from before fork to COMMAND's end
 * measure RUNS start COMMAND...  the same until this very program is started below COMMAND in rsync's place
 * measure RUNS memory COMMAND...  the most memory that COMMAND and its children had at once, each, in kB (getrusage(2))
 * In rsync's place (first word --server, or none) it only tells what time it is, on stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

int main(int count, char **words) {
    if (count < 4 || !strcmp(words[1], "--server")) {
        printf("%lld\n", now());
        return 0;
    }
    int runs = atoi(words[1]), until_start = !strcmp(words[2], "start"), memory = !strcmp(words[2], "memory");
    long long *took = calloc(runs, sizeof *took);
    for (int run = 0; run < runs; run++) {
        int ends[2], status;
        char answer[64] = "";
        if (pipe(ends) < 0) return 1;
        long long begin = now();
        pid_t child = fork();
        if (child == 0) {
            dup2(ends[1], 1);
            close(ends[0]);
            close(ends[1]);
            execvp(words[3], words + 3);
            _exit(127);
        }
        close(ends[1]);
        if (read(ends[0], answer, sizeof answer - 1) < 0) return 1;
        struct rusage used;
        wait4(child, &status, 0, &used);
        took[run] = memory ? used.ru_maxrss * 1000 : (until_start ? atoll(answer) : now()) - begin;
        close(ends[0]);
        if (status != 0 || took[run] <= 0) {
            fprintf(stderr, "%s ended with status %d\n", words[3], status);
            return 1;
        }
    }
    qsort(took, runs, sizeof *took, ascending);
    printf("%lld %lld\n", took[runs / 2] / 1000, took[runs * 95 / 100] / 1000);
    return 0;
}
