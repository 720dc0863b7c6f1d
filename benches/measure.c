/* measure RUNS exit COMMAND... [, COMMAND...]...   microseconds from before fork to COMMAND's end
 * measure RUNS start COMMAND... [, COMMAND...]...  the same until this very program is started below COMMAND in rsync's place
 * measure RUNS memory COMMAND...  the most resident memory that one process of COMMAND had, in kB (getrusage(2))
 * One line for each command: median, 95th percentile, least. The commands take turns, so that whatever else the machine
 * does falls on all of them. In rsync's place (first word --server, or none) it only tells what time it is, on stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16 };
enum what { END, START, MEMORY };

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds (or thousandths of a kB), or -1. */
static long long once(char **command, enum what what) {
    int ends[2], status;
    char answer[64] = "";
    if (pipe(ends) < 0) return -1;
    long long begin = now();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execvp(command[0], command);
        _exit(127);
    }
    close(ends[1]);
    if (read(ends[0], answer, sizeof answer - 1) < 0) return -1;
    struct rusage used;
    wait4(child, &status, 0, &used);
    long long took = what == MEMORY ? used.ru_maxrss * 1000 : (what == START ? atoll(answer) : now()) - begin;
    close(ends[0]);
    if (status != 0 || took <= 0) {
        fprintf(stderr, "%s ended with status %d\n", command[0], status);
        return -1;
    }
    return took;
}

int main(int count, char **words) {
    if (count < 4 || !strcmp(words[1], "--server")) {
        printf("%lld\n", now());
        return 0;
    }
    int runs = atoi(words[1]), commands = 1;
    enum what what = !strcmp(words[2], "start") ? START : !strcmp(words[2], "memory") ? MEMORY : END;
    char **command[MOST] = {words + 3};
    for (int word = 4; word < count; word++)
        if (!strcmp(words[word], ",")) {
            if (commands == MOST) return 2;
            words[word] = NULL;
            command[commands++] = words + word + 1;
        }
    long long *took[MOST];
    for (int c = 0; c < commands; c++) took[c] = calloc(runs, sizeof **took);
    for (int run = 0; run < runs; run++)
        for (int c = 0; c < commands; c++)
            if ((took[c][run] = once(command[c], what)) < 0) return 1;
    for (int c = 0; c < commands; c++) {
        qsort(took[c], runs, sizeof **took, ascending);
        printf("%lld %lld %lld\n", took[c][runs / 2] / 1000, took[c][runs * 95 / 100] / 1000, took[c][0] / 1000);
    }
    return 0;
}
