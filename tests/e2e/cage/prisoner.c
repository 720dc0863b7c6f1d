/* Stands in rsync's place and tells what it is among other processes: its number, what becomes of a signal to the
 * process that the file `target` names, and how many children it gets. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    int target = 0, children = 0;
    FILE *file = fopen("target", "r");
    if (!file || fscanf(file, "%d", &target) != 1) return 1;
    printf("number %d\n", (int)getpid());
    printf("signal: %s\n", kill(target, SIGKILL) == 0 ? "sent" : strerror(errno));
    fflush(stdout);
    for (; children < 100; children++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) {
            pause();
            _exit(0);
        }
    }
    printf("children %d\n", children);
    return 0;
}
